"""Offline samples: small TFDS datasets that are prepared without a network and TensorFlow and read like any other."""
