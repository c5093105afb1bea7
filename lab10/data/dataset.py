"""The base class of datasets: a config that opens into splits of examples."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast, get_args

import numpy as np

from lab10.config.fields import field, require_at_least, require_fraction
from lab10.data.sources import Source, open_source
from lab10.data.transforms import Batch, NoTransform, Transform
from lab10.errors import UserError

# A batch on its way to the device, rows first: `inputs`, `labels` where the dataset has them, and
# `mask`, false in rows that only fill the batch. `Spec.preprocess` adds `targets`.
HostBatch = dict[str, np.ndarray]
SplitName = Literal["train", "validation", "test"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec(abc.ABC):
    """The description of a dataset that models and checkpoints need, so that they work without the dataset."""

    # What the examples are, for messages.
    modality: ClassVar[str]

    class_names: tuple[str, ...] = ()
    """Names of the labels, in order; empty if there are no labels."""

    @abc.abstractmethod
    def example(self) -> HostBatch:
        """Returns a batch of one blank example, for shapes and dtypes."""

    @abc.abstractmethod
    def preprocess(self, batch: Batch) -> Batch:
        """Converts raw rows to what the model takes, and adds `targets`. Pure; runs on the device."""

    def trim_padding(self, batch: Batch, length: int | None) -> Batch:
        """Removes the padding beyond `length`, if examples have lengths. Pure; runs on the device."""
        return batch


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
      rows: int64 [examples], row ids in the TFDS split.
      read: takes row ids, int64 [batch], and a length to pad to, which is one of `padded_lengths`;
        returns `inputs` and, if available, `labels`.
      lengths: int64 [examples], or None if examples have no length.
      padded_lengths: the lengths that batches are padded to, ascending; every example fits the last.
        `(None,)` if examples have no length.
    """

    rows: np.ndarray
    read: Callable[[np.ndarray, int | None], HostBatch]
    lengths: np.ndarray | None = None
    padded_lengths: tuple[int | None, ...] = (None,)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, examples: np.ndarray, length: int | None = None) -> HostBatch:
        """Reads examples by index into the split, int64 [batch], padded to `length` or the longest."""
        return self.read(self.rows[examples], self.padded_lengths[-1] if length is None else length)

    def padded_length(self, examples: np.ndarray) -> int | None:
        """Returns the smallest of `padded_lengths` that these examples fit."""
        if self.lengths is None:
            return None
        longest = self.lengths[examples].max()
        return next(length for length in self.padded_lengths if length is not None and length >= longest)


@dataclasses.dataclass(frozen=True)
class OpenDataset:
    """A dataset whose arrays can be read.

    Attributes:
      spec: the description that models need.
      version: the full name in TFDS, with the version: `mnist/3.0.1`.
      content_sha256: SHA-256 of the arrays of the train split, hexadecimal.
      open_split: opens a split; the test split is not read until it is requested.
      vocabulary: the words of a text dataset, most frequent first, else None.
    """

    spec: Spec
    version: str
    content_sha256: str
    open_split: Callable[[SplitName], Split]
    vocabulary: Sequence[bytes] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """A TFDS dataset by name. Subclasses turn its examples into arrays."""

    name: str
    """The TFDS dataset, as `name` or `name/config`."""
    dir: str | None = field(None, affects_result=False)
    """Folder of prepared TFDS datasets; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    cache_dir: str | None = field(None, affects_result=False)
    """Folder of cached arrays; None: $LAB10_CACHE_DIR, else ~/.cache/lab10."""
    train_split: str = "train"
    """Name of the TFDS split to train on; the validation split is taken from it."""
    test_split: str = "test"
    """Name of the TFDS split that only evaluation reads."""
    validation_fraction: float = 0.1
    """Fraction of the train split held out for validation; 0: none."""
    validation_seed: int = 0
    """Seed of the choice of validation examples."""
    shuffle_seed: int = 0
    """Seed of the order of training examples."""
    transform: Transform = NoTransform()
    """Transform of each training batch, for noise or augmentation."""

    def __post_init__(self):
        require_fraction(self, "validation_fraction", prefix="data.")
        require_at_least(0, self, "validation_seed", "shuffle_seed", prefix="data.")

    @abc.abstractmethod
    def open_dataset(self) -> OpenDataset:
        """Opens the dataset, and writes its arrays to the cache if they are missing.

        Raises:
          UserError: it is not there, or is not of this kind.
        """

    def source(self, split: SplitName) -> Source:
        """Opens the TFDS split from which a split is taken."""
        name = self.test_split if split == "test" else self.train_split
        return open_source(self.name, name, self.dir, self.cache_dir)

    def split_indices(self, split: SplitName, examples: int) -> np.ndarray:
        """Returns the row ids of a split in a TFDS split of `examples` examples, sorted, int64.

        Train and validation are a partition that depends on `validation_seed` alone: dropping or
        truncating examples later moves none from one split to the other.
        """
        if split == "test":
            return np.arange(examples)
        held_out = round(self.validation_fraction * examples)
        if self.validation_fraction > 0:
            held_out = min(max(held_out, 1), examples - 1)
        order = np.random.default_rng([self.validation_seed, examples]).permutation(examples)
        return np.sort(order[:held_out] if split == "validation" else order[held_out:])

    def refuse_empty(self, split: SplitName, rows: np.ndarray, limit: str = "") -> None:
        """Raises UserError where a split that was asked for holds no example, or none within a limit."""
        if len(rows) == 0 and split == "validation" and self.validation_fraction == 0:
            raise UserError(
                f"This run holds no example of {self.name} out for validation (--data.validation-fraction 0)."
            )
        if len(rows) == 0:
            raise UserError(f"The {split} split of {self.name} has no example{limit}.")


def split_named(name: str) -> SplitName:
    """The name as a split's.

    Raises:
      UserError: there is no such split.
    """
    if name not in get_args(SplitName):
        raise UserError(f"There is no split {name!r}; expected one of {', '.join(get_args(SplitName))}.")
    return cast(SplitName, name)
