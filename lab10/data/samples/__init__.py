"""Small TFDS datasets that need no network, written without TensorFlow and read like any other."""
