"""TFDS datasets of single-channel images of one size, as rows of pixels."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from lab10.data.cache import Arrays, ArrayWriter, cache_root, open_entry
from lab10.data.dataset import Batch, Dataset, HostBatch, OpenDataset, Spec, Split, SplitName
from lab10.data.sources import Source, import_tfds
from lab10.errors import UserError

MAX_PIXELS = 2**24


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec(Spec):
    """The size of the images, and `largest`, the pixel value that is scaled to 1."""

    modality: ClassVar[str] = "images"

    height: int
    width: int
    largest: int

    def __post_init__(self):
        if min(self.height, self.width, self.largest) < 1 or self.pixels > MAX_PIXELS or self.largest > 65535:
            raise UserError(
                f"Images of {self.height} × {self.width} pixels with values up to {self.largest} are not supported; "
                f"expected 8 or 16 bits per pixel and at most {MAX_PIXELS} pixels."
            )

    @property
    def pixels(self) -> int:
        """Number of pixels of an image: the width of a row of inputs."""
        return self.height * self.width

    def example(self) -> HostBatch:
        """Returns a blank image: `inputs` uint8 or uint16 [1, pixels]."""
        dtype = np.uint8 if self.largest < 256 else np.uint16
        return {"inputs": np.zeros((1, self.pixels), dtype), "mask": np.ones(1, bool)}

    def preprocess(self, batch: Batch) -> Batch:
        """Scales pixels to float32 in [0, 1]; an image is its own target."""
        pixels = batch["inputs"].astype(jnp.float32) / self.largest
        return batch | {"inputs": pixels, "targets": pixels}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataset(Dataset):
    """Images, flattened and scaled to [0, 1]."""

    name: str = "mnist"
    """TFDS dataset of single-channel images of one size, such as mnist, fashion_mnist, kmnist."""
    image_feature: str | None = None
    """Feature that contains the image; None: the only image feature."""

    def open_dataset(self) -> OpenDataset:
        source = self.source("train")
        feature, spec = self._describe(source)
        arrays, digest = self._open_arrays(source, feature, spec)

        def open_split(split: SplitName) -> Split:
            split_arrays = self._open_arrays(self.source("test"), feature, spec)[0] if split == "test" else arrays
            rows = self.split_indices(split, len(split_arrays["pixels"]))
            self.refuse_empty(split, rows)

            def read(row_ids: np.ndarray, _: int | None) -> HostBatch:
                return {"inputs": split_arrays["pixels"][row_ids], "labels": split_arrays["labels"][row_ids]}

            return Split(rows, read)

        return OpenDataset(spec, source.version, digest, open_split)

    def _describe(self, source: Source) -> tuple[str, ImageSpec]:
        """Returns the name of the image feature and the spec."""
        tfds = import_tfds()
        images = [key for key, feature in sorted(source.features.items()) if isinstance(feature, tfds.features.Image)]
        name = self.image_feature or (images[0] if len(images) == 1 else None)
        if name is None or name not in images:
            raise UserError(
                f"{self.name} does not have the expected image feature: its image features are "
                f"{', '.join(images) or 'none'}.\n"
                f"Choose a feature with --data.image-feature, or another dataset with --data.name."
            )
        feature = source.features[name]
        if feature.shape[-1] != 1 or np.dtype(feature.np_dtype) not in (np.uint8, np.uint16):
            raise UserError(
                f"{self.name} has images of shape {feature.shape}, {feature.np_dtype}; "
                f"expected one channel of uint8 or uint16."
            )
        height, width, _ = source.read([0])[0][name].shape if len(source) else (1, 1, 1)
        label = dict(source.features.items()).get("label")
        classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()
        return name, ImageSpec(
            height=height, width=width, largest=int(np.iinfo(feature.np_dtype).max), class_names=classes
        )

    def _open_arrays(self, source: Source, feature: str, spec: ImageSpec) -> tuple[Arrays, str]:
        """Opens the arrays of a split in the cache, and their digest.

        `pixels` [examples, pixels] have the integer type of the images; `labels` are int32 [examples],
        -1 without classes.
        """

        def build(writer: ArrayWriter) -> None:
            for records in source.chunks():
                writer.append("pixels", np.stack([self._flatten(record[feature], spec) for record in records]))
                writer.append("labels", np.array([label_of(record, spec.class_names) for record in records], np.int32))

        key = {"reader": "images 1", "feature": feature, "source": source.fingerprint}
        return open_entry(cache_root(self.cache_dir), f"{source.version}-{source.fingerprint['split']}", key, build)

    def _flatten(self, image: np.ndarray, spec: ImageSpec) -> np.ndarray:
        if image.shape != (spec.height, spec.width, 1):
            raise UserError(
                f"{self.name} has images of different sizes "
                f"({image.shape[:2]} and {(spec.height, spec.width)}); expected one size."
            )
        return image.reshape(-1)


def label_of(record: dict[str, Any], class_names: tuple[str, ...]) -> int:
    """Returns the class of an example; -1 if the dataset has no classes."""
    return int(record["label"]) if class_names else -1
