"""Reads images that were prepared from user files."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lab10.data.sources import open_source


def stored_images(data):
    """The pixels as the files have them: TFDS decodes images of 16 bits only with OpenCV."""
    source = open_source("pictures", "train", str(data))
    source.records.decoders = {"image": tfds.decode.SkipDecoding()}
    images = [np.asarray(Image.open(io.BytesIO(record["image"]))) for record in source.read(list(range(len(source))))]
    feature = source.features["image"]
    assert all(image.dtype == feature.np_dtype for image in images)
    images = [image[..., None] if image.ndim == 2 else image for image in images]
    assert all(image.shape == feature.shape for image in images)
    return images


def assert_whole_groups(data, sizes):
    """Both splits have whole groups, of which `sizes` has the number of images."""
    found = {}
    for split in ("train", "test"):
        source = open_source("pictures", split, str(data))
        source.records.decoders = {"image": tfds.decode.SkipDecoding()}
        names = [record["group"].decode() for record in source.read(list(range(len(source))))]
        assert names
        for name in set(names):
            assert found.setdefault(name, names.count(name)) == sizes[name]
    assert found == sizes
