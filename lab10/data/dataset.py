"""Base classes of datasets: a config opens into splits of examples."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast, get_args

import numpy as np

from lab10.config.fields import field, require_at_least, require_fraction
from lab10.data.sources import Source, open_source
from lab10.data.transforms import Batch, NoTransform, Transform
from lab10.errors import UserError

# A batch on the host, rows first: `inputs`, `labels` if the dataset has labels, and `mask`, which is
# false in rows that only fill the batch. `Spec.preprocess` adds `targets`.
HostBatch = dict[str, np.ndarray]
SplitName = Literal["train", "validation", "test"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec(abc.ABC):
    """The description of a dataset. Models and checkpoints need only the spec, not the dataset."""

    # The type of the examples: messages name it, and transforms state which they accept.
    modality: ClassVar[str]

    class_names: tuple[str, ...] = ()
    """Names of the labels, in order; empty if the dataset has no labels."""

    @abc.abstractmethod
    def example(self) -> HostBatch:
        """Returns a batch of one blank example, which gives shapes and dtypes."""

    @abc.abstractmethod
    def preprocess(self, batch: Batch) -> Batch:
        """Converts raw rows to the inputs of the model and adds `targets`. Pure; runs on the device."""

    def trim_padding(self, batch: Batch, length: int | None) -> Batch:
        """Removes the padding beyond `length`; None removes nothing. Pure; runs on the device."""
        return batch


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
      rows: int64 [examples], the row ids of the examples in their TFDS split.
      read: takes row ids, int64 [batch], and a length to pad to, one of `padded_lengths`; returns
        `inputs` and, if the dataset has labels, `labels`.
      lengths: int64 [examples], the lengths of the examples; None if examples have no length.
      padded_lengths: the lengths that batches are padded to, ascending; every example fits into the
        last. (None,) if examples have no length.
    """

    rows: np.ndarray
    read: Callable[[np.ndarray, int | None], HostBatch]
    lengths: np.ndarray | None = None
    padded_lengths: tuple[int | None, ...] = (None,)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, examples: np.ndarray, length: int | None = None) -> HostBatch:
        """Reads the examples with these indices, int64 [batch], padded to `length`; None: the longest."""
        return self.read(self.rows[examples], self.padded_lengths[-1] if length is None else length)

    def padded_length(self, examples: np.ndarray) -> int | None:
        """Returns the smallest of `padded_lengths` that holds these examples."""
        if self.lengths is None:
            return None
        longest = self.lengths[examples].max()
        return next(length for length in self.padded_lengths if length is not None and length >= longest)


@dataclasses.dataclass(frozen=True)
class OpenDataset:
    """An open dataset.

    Attributes:
      spec: the description of the dataset.
      version: full TFDS name with the version: `mnist/3.0.1`.
      content_sha256: SHA-256 of the arrays of the train split, hexadecimal.
      open_split: opens a split. The test split is not read until it is opened.
      vocabulary: the words of a text dataset, most frequent first; None for other datasets.
    """

    spec: Spec
    version: str
    content_sha256: str
    open_split: Callable[[SplitName], Split]
    vocabulary: Sequence[bytes] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """A TFDS dataset by name. Subclasses convert examples to arrays."""

    name: str
    """TFDS dataset, as `name` or `name/config`."""
    dir: str | None = field(None, affects_result=False)
    """Folder of the prepared TFDS datasets; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    cache_dir: str | None = field(None, affects_result=False)
    """Folder of the array cache; None: $LAB10_CACHE_DIR, else ~/.cache/lab10."""
    train_split: str = "train"
    """TFDS split to train on; the validation split is taken from it."""
    test_split: str = "test"
    """TFDS split for testing; only evaluation reads it."""
    validation_fraction: float = 0.1
    """Fraction of the train split that is held out for validation; 0: none."""
    validation_seed: int = 0
    """Seed of the choice of validation examples."""
    shuffle_seed: int = 0
    """Seed of the order of training examples."""
    transform: Transform = NoTransform()
    """Transform of each training batch on the device, for noise or augmentation."""

    def __post_init__(self):
        require_fraction(self, "validation_fraction", prefix="data.")
        require_at_least(0, self, "validation_seed", "shuffle_seed", prefix="data.")

    @abc.abstractmethod
    def open_dataset(self) -> OpenDataset:
        """Opens the dataset; writes its arrays to the cache first if they are missing.

        Raises:
          UserError: the dataset is missing, or its examples are of another type.
        """

    def source(self, split: SplitName) -> Source:
        """Opens the TFDS split that contains the examples of a split."""
        name = self.test_split if split == "test" else self.train_split
        return open_source(self.name, name, self.dir, self.cache_dir)

    def split_indices(self, split: SplitName, examples: int) -> np.ndarray:
        """Returns the row ids of a split's examples in their TFDS split of `examples` examples, sorted, int64.

        Train and validation are a partition that depends only on `validation_fraction`,
        `validation_seed` and `examples`: dropping or truncating examples afterwards moves no
        example from one split to the other.
        """
        if split == "test":
            return np.arange(examples)
        held_out = round(self.validation_fraction * examples)
        if self.validation_fraction > 0:
            held_out = min(max(held_out, 1), examples - 1)
        order = np.random.default_rng([self.validation_seed, examples]).permutation(examples)
        return np.sort(order[:held_out] if split == "validation" else order[held_out:])

    def refuse_empty(self, split: SplitName, rows: np.ndarray, limit: str = "") -> None:
        """Raises UserError if a split has no examples. `limit` continues the message with the reason."""
        if len(rows) == 0 and split == "validation" and self.validation_fraction == 0:
            raise UserError(f"This run has no validation split of {self.name}: --data.validation-fraction is 0.")
        if len(rows) == 0:
            raise UserError(f"The {split} split of {self.name} has no examples{limit}.")


def split_named(name: str) -> SplitName:
    """Returns the name, checked to be the name of a split.

    Raises:
      UserError: no split has this name.
    """
    if name not in get_args(SplitName):
        raise UserError(f"Unknown split {name!r}; expected one of {', '.join(get_args(SplitName))}.")
    return cast(SplitName, name)
