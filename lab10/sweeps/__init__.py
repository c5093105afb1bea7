"""Sweeps: many points of one experiment, chosen by validation."""
