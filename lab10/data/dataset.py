"""What a dataset is to the rest of the program: a config that opens into splits of examples."""

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
    """What a model and a checkpoint need to know of a dataset: enough to work without it."""

    # What the examples are, for messages.
    modality: ClassVar[str]

    class_names: tuple[str, ...] = ()
    """The names of the labels, in order; none where there are no labels."""

    @abc.abstractmethod
    def example(self) -> HostBatch:
        """A batch of one blank example, for shapes and dtypes."""

    @abc.abstractmethod
    def preprocess(self, batch: Batch) -> Batch:
        """Raw rows as the model takes them, with `targets`. Pure; runs on the device."""

    def trim_padding(self, batch: Batch, length: int | None) -> Batch:
        """Rows of a split whose examples have lengths, without the padding beyond `length`. Pure; on the device."""
        return batch


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples of one split, by row number.

    Attributes:
      rows: int64 [examples], the examples' places in the TFDS split they come from.
      read: takes such places, int64 [batch], and a length to pad to, which is one of `padded_lengths`;
        returns `inputs` and, where there are any, `labels`.
      lengths: int64 [examples], where examples differ in length.
      padded_lengths: the lengths that batches are padded to, ascending; the last holds every example.
        None where examples have no length.
    """

    rows: np.ndarray
    read: Callable[[np.ndarray, int | None], HostBatch]
    lengths: np.ndarray | None = None
    padded_lengths: tuple[int | None, ...] = (None,)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, examples: np.ndarray, length: int | None = None) -> HostBatch:
        """The examples at these positions of the split, int64 [batch], padded to a length, or to the longest."""
        return self.read(self.rows[examples], self.padded_lengths[-1] if length is None else length)

    def padded_length(self, examples: np.ndarray) -> int | None:
        """The least of `padded_lengths` that holds these examples."""
        if self.lengths is None:
            return None
        longest = self.lengths[examples].max()
        return next(length for length in self.padded_lengths if length is not None and length >= longest)


@dataclasses.dataclass(frozen=True)
class OpenDataset:
    """A dataset whose arrays are at hand.

    Attributes:
      spec: what the model needs to know of it.
      version: TFDS's full name of it, with the version: `mnist/3.0.1`.
      content_sha256: of the arrays of the train split, hexadecimal.
      open_split: opens a split; nothing of the test split is read before it is asked for.
      vocabulary: the words of a text dataset, most frequent first, else None.
    """

    spec: Spec
    version: str
    content_sha256: str
    open_split: Callable[[SplitName], Split]
    vocabulary: Sequence[bytes] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """A TFDS dataset by name. A kind of dataset says how examples become arrays."""

    name: str
    """The TFDS dataset, as `name` or `name/config`."""
    dir: str | None = field(None, affects_result=False)
    """Where TFDS datasets lie prepared; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    cache_dir: str | None = field(None, affects_result=False)
    """Where arrays are cached; None: $LAB10_CACHE_DIR, else ~/.cache/lab10."""
    train_split: str = "train"
    """TFDS's name of the split to train on; validation is carved from it."""
    test_split: str = "test"
    """TFDS's name of the split that only evaluation reads."""
    validation_fraction: float = 0.1
    """Share of the train split that is held out for validation; 0: none."""
    validation_seed: int = 0
    """Of the choice of validation examples."""
    shuffle_seed: int = 0
    """Of the order of training examples."""
    transform: Transform = NoTransform()
    """Applied to each training batch on the device, for noise or augmentation."""

    def __post_init__(self):
        require_fraction(self, "validation_fraction", prefix="data.")
        require_at_least(0, self, "validation_seed", "shuffle_seed", prefix="data.")

    @abc.abstractmethod
    def open_dataset(self) -> OpenDataset:
        """Opens the dataset, materialising it into the cache where it is not there yet.

        Raises:
          UserError: it is not there, or is not of this kind.
        """

    def source(self, split: SplitName) -> Source:
        """The TFDS split that a split's examples come from."""
        name = self.test_split if split == "test" else self.train_split
        return open_source(self.name, name, self.dir, self.cache_dir)

    def split_indices(self, split: SplitName, examples: int) -> np.ndarray:
        """The places of a split's examples in the TFDS split of `examples` examples, sorted, int64.

        Train and validation are a partition drawn by `validation_seed` alone: leaving out or
        shortening examples afterwards moves none from one to the other.
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
