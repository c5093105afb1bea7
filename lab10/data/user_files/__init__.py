"""Prepares a user's own files as a TFDS dataset, without TensorFlow and without a network."""
