"""Sweeps: many trials of one experiment in an Optuna study, chosen by validation."""
