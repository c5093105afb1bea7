"""Base classes of datasets: a config opens into splits of examples."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from lab10.cli.console import console
from lab10.config.errors import UserError
from lab10.config.fields import field, require_at_least, require_fraction
from lab10.data.groups import open_groups
from lab10.data.sources import Source, open_source, require_split
from lab10.data.splits import hold_out, missing_classes, require_disjoint
from lab10.data.transforms import Batch, NoTransform, Transform

# A batch on the host, rows first: `inputs`, `labels` if the dataset has labels, and `mask`, which is
# false in padding rows. `Spec.preprocess` adds `targets`.
HostBatch = dict[str, np.ndarray]


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
      content_sha256: SHA-256 of the arrays of the TFDS split, hexadecimal; `""` if it is not known.
    """

    rows: np.ndarray
    read: Callable[[np.ndarray, int | None], HostBatch]
    lengths: np.ndarray | None = None
    padded_lengths: tuple[int | None, ...] = (None,)
    content_sha256: str = ""

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
      open_split: opens `train`, `validation`, `test` or any other TFDS split (`Dataset.tfds_split`). A split other
        than `train` is not read until it is opened.
      vocabulary: the words of a text dataset, most frequent first; None for other datasets.
      ngram_vocabulary: the n-grams of a text dataset that have ids, as in `lab10.data.ngram_vocabulary`.
    """

    spec: Spec
    version: str
    content_sha256: str
    open_split: Callable[[str], Split]
    vocabulary: Sequence[bytes] | None = None
    ngram_vocabulary: tuple[np.ndarray, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(abc.ABC):
    """A TFDS dataset by name. Subclasses convert examples to arrays."""

    option_prefix: ClassVar[str] = "data."

    name: str
    """TFDS dataset, as `name` or `name/config`."""
    dir: str | None = field(None, affects_result=False)
    """Folder of the prepared TFDS datasets; None: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    cache_dir: str | None = field(None, affects_result=False)
    """Folder of the array cache; None: $LAB10_CACHE_DIR, else ~/.cache/lab10."""
    train_split: str = "train"
    """TFDS split to train on, or slices of splits, such as train[:80%] or train+unsupervised."""
    extra_train_split: str | None = None
    """TFDS split to train on as well, of which nothing is held out, such as unsupervised; None: none."""
    test_split: str = field("test", affects_result=False)
    """TFDS split for testing; only evaluation reads it."""
    validation_split: str | None = None
    """TFDS split for validation; None: rows of the train split are held out."""
    validation_fraction: float = 0.1
    """Fraction of the train split that is held out for validation, if it has no separate split; 0: none."""
    validation_seed: int = 0
    """Seed of the choice of validation examples."""
    validation_group: str | None = None
    """Feature whose equal values, such as an author, stay together when rows are held out; None: draws single rows."""
    shuffle_seed: int = 0
    """Seed of the order of training examples."""
    transform: Transform = NoTransform()
    """Transform of each training batch on the device, for noise or augmentation."""

    def __post_init__(self):
        require_fraction(self, "validation_fraction")
        require_at_least(0, self, "validation_seed", "shuffle_seed")
        if self.validation_split is not None and self.validation_group is not None:
            raise UserError(
                "--data.validation-group groups rows that are held out of the train split, and --data.validation-split "
                "names a separate split. Give one of them."
            )

        if self.validation_group is not None and self.extra_train_split is not None:
            raise UserError(
                "--data.validation-group keeps the rows of a group on one side, and --data.extra-train-split may have "
                "more rows of the groups that are held out. Give one of them."
            )

    @abc.abstractmethod
    def open_dataset(self, workdir: Path | None = None) -> OpenDataset:
        """Opens the dataset; writes its arrays to the cache first if they are missing.

        Args:
          workdir: workdir of the run for which it is opened. What the run keeps of its dataset, such as a
            vocabulary, is read from there; a workdir without records is ignored.

        Raises:
          UserError: the dataset is missing, or its examples are of another type.
        """

    @property
    def has_validation(self) -> bool:
        """Whether runs on this dataset have a validation split."""
        return self.validation_split is not None or self.validation_fraction > 0

    @property
    def holds_out_validation(self) -> bool:
        """Whether the validation split consists of rows of the train split."""
        return self.validation_split is None and self.validation_fraction > 0

    def is_part_of_train(self, split: str) -> bool:
        """Returns whether the examples of a split are in the TFDS split to train on."""
        return split == "train" or (split == "validation" and self.validation_split is None)

    def tfds_split(self, split: str) -> str:
        """Returns the TFDS split that contains the examples of a split.

        `train`, `validation` and `test` are the splits of this config. Any other name is that of a TFDS split, or of
        slices: TFDS's own split `validation` is `validation[0:]`.
        """
        if self.is_part_of_train(split):
            return self.train_split + ("" if self.extra_train_split is None else f"+{self.extra_train_split}")
        return {"validation": self.validation_split, "test": self.test_split}.get(split) or split

    def source(self, split: str) -> Source:
        """Opens the TFDS split that contains the examples of a split.

        Raises:
          UserError: the split does not exist, or the splits of this config have rows in common.
        """
        option = f"--data.{'train' if self.is_part_of_train(split) else split}-split"
        if self.is_part_of_train(split) and self.extra_train_split is not None:
            option += " and --data.extra-train-split"
        source = open_source(
            self.name,
            self.tfds_split(split),
            self.dir,
            self.cache_dir,
            option=option if split in ("train", "validation", "test") else "--split",
        )
        named = {"train": self.tfds_split("train"), "validation": self.validation_split, "test": self.test_split}
        require_disjoint(
            self.name, source.splits, {f"--data.{name}-split": value for name, value in named.items() if value}
        )
        return source

    def require_test_split(self) -> None:
        """Checks that the test split exists, without reading it.

        Raises:
          UserError: there is no such split, or it has rows in common with those that are trained on.
        """
        require_split(self.name, self.source("train").splits, self.test_split, "--data.test-split")

    def split_indices(
        self,
        split: str,
        examples: int,
        labels: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        extra: int = 0,
    ) -> np.ndarray:
        """Returns the row ids of a split's examples in their TFDS split, sorted, int64.

        Train and validation are a partition that depends only on the arguments, `validation_fraction` and
        `validation_seed`: dropping or truncating examples afterwards moves no example from one split to the other.

        Args:
          split: name of the split.
          examples: number of rows of the TFDS split.
          labels: class of each row, for the draw that `hold_out` describes.
          groups: group of each row, likewise.
          extra: number of rows at the end of which none is held out.
        """
        if split not in ("train", "validation") or self.validation_split is not None:
            return np.arange(examples)
        drawn = examples - extra
        labels, groups = (None if column is None else column[:drawn] for column in (labels, groups))
        held_out = hold_out(drawn, self.validation_fraction, self.validation_seed, labels, groups)
        held_out = np.pad(held_out, (0, extra))
        return np.flatnonzero(held_out == (split == "validation"))

    def choose_rows(self, split: str, source: Source, labels: np.ndarray) -> np.ndarray:
        """Returns the row ids of a split's examples as `split_indices` does, with the groups of the rows if needed.

        Args:
          split: name of the split.
          source: the train split.
          labels: class of each row of the TFDS split, negative without one.
        """
        groups = None
        if self.validation_group is not None and self.is_part_of_train(split) and self.holds_out_validation:
            groups = open_groups(self.name, source, self.validation_group, self.cache_dir)
        extra = 0
        if self.extra_train_split is not None and self.is_part_of_train(split):
            extra = len(labels) - source.splits[self.train_split].num_examples
        rows = self.split_indices(split, len(labels), labels, groups, extra)
        if (
            split == "validation"
            and groups is None
            and not np.array_equal(rows, self.split_indices(split, len(labels), extra=extra))
        ):
            console.print(
                f"The validation split of {self.name} is drawn class by class, because {self.validation_fraction:g} of "
                f"all rows would leave out a class: it has {len(rows)} of {len(labels)} rows.",
            )
        return rows

    def require_examples(self, split: str, rows: np.ndarray, limit: str = "") -> None:
        """Raises UserError if a split has no examples. `limit` continues the message with the reason."""
        if len(rows) == 0 and split == "validation" and not self.has_validation:
            raise UserError(
                f"This run has no validation split of {self.name}: --data.validation-fraction is 0. "
                "Evaluate another split, such as --split test."
            )
        if len(rows) == 0:
            raise UserError(f"The {split} split of {self.name} has no examples{limit}.")

    def warn_of_missing_classes(self, split: str, labels: np.ndarray, spec: Spec) -> None:
        """Prints a warning if a split has no example of a class."""
        if missing := missing_classes(labels, spec.class_names):
            others = f" and {len(missing) - 5} other class(es)" if len(missing) > 5 else ""
            console.print(
                f"The {split} split of {self.name} has no example of the class {', '.join(missing[:5])}{others}.",
            )
