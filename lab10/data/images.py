"""TFDS datasets of images of one size, as rows of pixels."""

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from lab10.config.errors import UserError
from lab10.config.fields import require_between
from lab10.data.array_cache import Arrays, ArrayWriter, cache_root, open_entry
from lab10.data.dataset import Batch, Dataset, HostBatch, OpenDataset, Spec, Split
from lab10.data.feature_choice import choose_feature, describe_type
from lab10.data.labels import Labels, find_labels
from lab10.data.sources import Source
from lab10.data.tfds_image_decoding import decode_image, decoding_loses_bits, is_8_bit_gray
from lab10.data.tfds_import import import_tfds

MAX_VALUES = 2**24
MAX_16_BITS = 65535


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSpec(Spec):
    """The size and channels of the images, and `pixel_max`, the pixel value that is scaled to 1."""

    modality: ClassVar[str] = "images"

    height: int
    width: int
    channels: int = 1
    pixel_max: int

    def __post_init__(self):
        smallest = min(self.height, self.width, self.channels, self.pixel_max)
        if smallest < 1 or self.num_values > MAX_VALUES or self.pixel_max > MAX_16_BITS:
            raise UserError(
                f"Images of {self.height} × {self.width} pixels, {self.channels} channel(s) and values "
                f"up to {self.pixel_max} are not supported; expected 8 or 16 bits per channel and at most "
                f"{MAX_VALUES} values."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels, in the order in which a row is flattened."""
        return self.height, self.width, self.channels

    @property
    def num_values(self) -> int:
        """Number of values of an image: the width of a row of inputs."""
        return self.height * self.width * self.channels

    def example(self) -> HostBatch:
        """Returns a blank image: `inputs` uint8 or uint16 [1, pixels]."""
        dtype = np.uint8 if self.pixel_max < 256 else np.uint16
        return {"inputs": np.zeros((1, self.num_values), dtype), "mask": np.ones(1, bool)}

    def preprocess(self, batch: Batch) -> Batch:
        """Scales pixels to float32 in [0, 1]; an image is its own target."""
        pixels = batch["inputs"].astype(jnp.float32) / self.pixel_max
        return batch | {"inputs": pixels, "targets": pixels}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDataset(Dataset):
    """Images, flattened and scaled to [0, 1]."""

    name: str = "mnist"
    """TFDS dataset of images of one size, such as mnist, fashion_mnist, cifar10."""
    image_feature: str | None = None
    """Feature that contains the image; None: `image`, else the only image feature."""
    label_feature: str | None = None
    """Feature that contains the class label; None: `label`, if there is one."""
    pixel_max: int | None = None
    """Pixel value that is scaled to 1; None: the largest value of the pixels' type, or 1 if no pixel exceeds 1."""

    def __post_init__(self):
        super().__post_init__()
        require_between(1, MAX_16_BITS, self, "pixel_max")

    def open_dataset(self, workdir: Path | None = None) -> OpenDataset:
        source = self.source("train")
        feature = self._image_feature(source)
        source = source.undecoded(feature)
        stored = source.read([0])[0][feature]
        first = self._decode(source, feature, stored, source.features[feature].shape[-1] or None)
        labels = find_labels(self.name, dict(source.features.items()), self.label_feature) or Labels()
        # Fields of the cache's key that are absent where the arrays are those of the first version of this reader.
        extra = {} if is_8_bit_gray(stored) else {"decoder": "by mode"}
        if labels.are_numbers or labels.feature not in (None, "label"):
            extra["label"] = str(labels.feature)
        arrays, digest = self._open_arrays(source, feature, labels, first, extra)
        labels = labels.with_classes(self.name, arrays["labels"], is_required=self.label_feature is not None)
        height, width, channels = first.shape
        spec = ImageSpec(
            height=height,
            width=width,
            channels=channels,
            pixel_max=self._pixel_max(arrays["pixels"]),
            class_names=labels.class_names,
        )

        @functools.cache
        def open_split(split: str) -> Split:
            split_arrays, split_digest = arrays, digest
            if not self.is_part_of_train(split):
                other = self.source(split).undecoded(feature)
                split_arrays, split_digest = self._open_arrays(other, feature, labels, first, extra)
                self._require_at_most(spec.pixel_max, split_arrays["pixels"], split)
            pixels, classes = split_arrays["pixels"], labels.classes(self.name, split, split_arrays["labels"])
            rows = self.choose_rows(split, source, classes)
            self.require_examples(split, rows)
            self.warn_of_missing_classes(split, classes[rows], spec)

            def read(row_ids: np.ndarray, _: int | None) -> HostBatch:
                return {"inputs": pixels[row_ids], "labels": classes[row_ids]}

            return Split(rows, read, content_sha256=split_digest)

        return OpenDataset(spec, source.version, digest, open_split)

    def _image_feature(self, source: Source) -> str:
        image = import_tfds().features.Image
        features = dict(source.features.items())
        images = sorted(name for name, feature in features.items() if isinstance(feature, image))
        name = choose_feature(
            self.name, features, "image", "--data.image-feature", self.image_feature, images, preferred="image"
        )
        feature = features[name]
        if len(feature.shape) != 3 or np.dtype(feature.np_dtype) not in (np.uint8, np.uint16):
            raise UserError(
                f"The feature {name!r} of {self.name} is {describe_type(feature)} with shape {feature.shape}; expected "
                "[height, width, channels] of uint8 or uint16.\nStore images of floats as PNG files of 16 bits."
            )
        return name

    def _decode(self, source: Source, feature: str, stored: bytes, channels: int | None) -> np.ndarray:
        """Decodes an image to [height, width, channels]."""
        try:
            if np.dtype(source.features[feature].np_dtype) == np.uint16 and decoding_loses_bits(stored):
                raise ValueError("a color image of 16 bits per channel, of which Pillow reads 8; expected 8 bits")
            return decode_image(stored, channels)
        except ValueError as error:
            raise UserError(
                f"The feature {feature!r} of {self.name} contains {error}.\n"
                "Prepare the dataset with converted images, or choose another feature with --data.image-feature."
            ) from error

    def _open_arrays(
        self, source: Source, feature: str, labels: Labels, first: np.ndarray, extra: dict[str, str]
    ) -> tuple[Arrays, str]:
        """Opens the arrays of a split in the cache, and their digest.

        `pixels` [examples, pixels] have the integer type of the images; `labels` are the values of the labels,
        [examples].

        Args:
          source: the split, with undecoded images.
          feature: name of the image feature.
          labels: what labels to read.
          first: the first image of the train split, whose size and type all others must have.
          extra: fields to add to the key in the cache.
        """

        def build(writer: ArrayWriter) -> None:
            for records in source.chunks():
                images = [self._decode(source, feature, record[feature], first.shape[-1]) for record in records]
                writer.append("pixels", np.stack([self._flatten(image, first) for image in images]))
                writer.append("labels", labels.read(records))

        key = {"reader": "images 1", "feature": feature, "source": source.fingerprint} | extra
        return open_entry(cache_root(self.cache_dir), f"{source.version}-{source.fingerprint['split']}", key, build)

    def _flatten(self, image: np.ndarray, first: np.ndarray) -> np.ndarray:
        if image.shape != first.shape:
            sizes = " and ".join(" × ".join(map(str, one.shape[:2])) for one in (first, image))
            raise UserError(
                f"{self.name} has images of different sizes ({sizes} pixels, height × width); expected one size.\n"
                "Prepare the dataset with images of one size."
            )
        if image.dtype != first.dtype:
            raise UserError(
                f"{self.name} has images of {first.dtype} and of {image.dtype}; expected the same number of bits."
            )
        return image.reshape(-1)

    def _pixel_max(self, pixels: np.ndarray) -> int:
        """Returns the pixel value that is scaled to 1, from the pixels of the train split."""
        of_type = int(np.iinfo(pixels.dtype).max)
        if self.pixel_max is not None:
            self._require_at_most(self.pixel_max, pixels, "train")
            return self.pixel_max
        found = largest_pixel_value(pixels)
        if found == 1 or found > of_type // 2:
            return 1 if found == 1 else of_type
        reason = "every pixel of its train split is 0" if found == 0 else f"the largest of its train split is {found}"
        raise UserError(
            f"The pixels of {self.name} are {pixels.dtype}, which holds values up to {of_type}, but {reason}.\n"
            f"State the value that means white with --data.pixel-max, such as {found or 1} or {of_type}."
        )

    def _require_at_most(self, largest: int, pixels: np.ndarray, split: str) -> None:
        if largest < np.iinfo(pixels.dtype).max and (found := largest_pixel_value(pixels)) > largest:
            source = "--data.pixel-max is" if self.pixel_max is not None else "the train split has none above"
            raise UserError(
                f"The {split} split of {self.name} has a pixel of {found}, but {source} {largest}; expected no pixel "
                "above it.\nRaise --data.pixel-max."
            )


def largest_pixel_value(pixels: np.ndarray) -> int:
    """Returns the largest value of pixels [examples, pixels]; stops reading at the largest value of the type."""
    largest, of_type = 0, np.iinfo(pixels.dtype).max
    for start in range(0, len(pixels), 1000):
        largest = max(largest, int(pixels[start : start + 1000].max()))
        if largest == of_type:
            break
    return largest
