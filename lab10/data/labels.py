"""Class labels of a TFDS feature, whether names, booleans or whole numbers, as class indices."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from lab10.config.errors import UserError
from lab10.data.feature_choice import describe_type
from lab10.data.tfds_import import import_tfds

# A number with more values than this identifies or measures an example; it does not classify it.
MAX_NUMBER_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of a dataset.

    Attributes:
      feature: feature that holds them; None: the dataset has no labels, or they are not read.
      class_names: names of the classes, in the order of their indices.
      feature_dtype: type of the values of the feature.
      values: value of each class, ascending; None: the values are class indices.
    """

    feature: str | None = None
    class_names: tuple[str, ...] = ()
    feature_dtype: np.dtype = np.dtype(np.int32)
    values: np.ndarray | None = None

    @property
    def are_numbers(self) -> bool:
        """Whether the classes are the numbers that the train split contains, not names that the dataset declares."""
        return self.feature is not None and not self.class_names

    def read(self, records: Sequence[dict[str, Any]]) -> np.ndarray:
        """Returns the values of records, [records]; -1 without labels."""
        return np.array(
            [-1 if self.feature is None else record[self.feature] for record in records], self.feature_dtype
        )

    def with_classes(self, dataset: str, values: np.ndarray, is_required: bool) -> "Labels":
        """Returns the labels with the classes that the values of the train split have.

        Args:
          dataset: name of the dataset, for messages.
          values: values of the whole train split.
          is_required: whether labels that are not classes are refused; otherwise they are not read.

        Raises:
          UserError: the values are not classes.
        """
        if not self.are_numbers:
            return self
        found = np.unique(np.asarray(values))
        problem = None
        if self.feature_dtype.kind == "f" and not np.all(np.isfinite(found) & (found == np.trunc(found))):
            example = next(value for value in found if not np.isfinite(value) or value != np.trunc(value))
            problem = f"contains {example}, which is a measurement and not a class"
        elif len(found) > MAX_NUMBER_CLASSES:
            problem = (
                f"has {len(found)} different values in {len(values)} rows, and at most {MAX_NUMBER_CLASSES} classes"
            )
            problem += " are supported"
        if problem and not is_required:
            return Labels()
        if problem:
            raise UserError(
                f"The feature {self.feature!r} of {dataset} {problem}.\n"
                "Name a feature of classes with --data.label-feature: a ClassLabel, booleans or whole numbers."
            )
        names = [str(value) if self.feature_dtype.kind == "b" else str(int(value)) for value in found]
        return dataclasses.replace(self, class_names=tuple(names), values=found)

    def classes(self, dataset: str, split: str, values: np.ndarray) -> Int[np.ndarray, " examples"]:
        """Returns the class of each value, int32; -1 for an example without a label.

        Raises:
          UserError: a value is none of the classes.
        """
        if self.feature is None:
            return np.full(len(values), -1, np.int32)
        if self.values is None:
            return np.asarray(values)
        indices = np.searchsorted(self.values, values).clip(max=len(self.values) - 1)
        if unseen := np.unique(values[self.values[indices] != values]).tolist():
            raise UserError(
                f"The {split} split of {dataset} has the label {unseen[0]}, which the train split does not have: its "
                f"labels are {', '.join(self.class_names[:20])}.\nTrain on rows of every class: --data.train-split."
            )
        return indices.astype(np.int32)


def find_labels(dataset: str, features: Mapping[str, Any], requested: str | None) -> Labels | None:
    """Returns the labels in the requested feature, or in `label`.

    Args:
      dataset: name of the dataset, for messages.
      features: the features of an example.
      requested: name of the feature; None: `label`.

    Returns:
      The labels; those of numbers get their classes from `Labels.with_classes`. None if nothing was requested, and
      `label` does not exist or cannot hold classes.

    Raises:
      UserError: the requested feature does not exist, or cannot hold classes.
    """
    tfds = import_tfds()
    name = requested or "label"
    feature = features.get(name)
    if isinstance(feature, tfds.features.ClassLabel):
        return Labels(name, tuple(feature.names or ()))
    if isinstance(feature, tfds.features.Tensor) and feature.shape == () and np.dtype(feature.np_dtype).kind in "iubf":
        return Labels(name, feature_dtype=np.dtype(feature.np_dtype))
    if requested is None:
        return None
    if feature is None:
        raise UserError(
            f"{dataset} has no feature {name!r}; it has {', '.join(sorted(features))}.\n"
            "Name the feature of the class labels with --data.label-feature."
        )
    raise UserError(
        f"The feature {name!r} of {dataset} is {describe_type(feature)}; expected a class label: a ClassLabel, "
        "a boolean or a whole number per example.\n"
        "Name another with --data.label-feature, or prepare the dataset with a ClassLabel."
    )
