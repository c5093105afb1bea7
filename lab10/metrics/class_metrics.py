"""Metrics of classifiers: from the label, the predicted class and the probabilities of each example."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from lab10.metrics.split_metric import Columns, SplitMetric


class F1(SplitMetric):
    """F1 of the second of two classes; with more classes, the mean of the F1 of each (macro F1)."""

    higher_is_better: ClassVar[bool | None] = True
    required_columns: ClassVar[tuple[str, ...]] = ("label", "predicted")

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> float:
        from sklearn.metrics import f1_score

        average = "binary" if len(class_names) == 2 else "macro"
        return f1_score(columns["label"], columns["predicted"], average=average, zero_division=np.nan)


class AUC(SplitMetric):
    """Area under the ROC curve of the second of two classes; with more, the mean over classes of each against the rest.

    Undefined if a class has no example.
    """

    higher_is_better: ClassVar[bool | None] = True
    required_columns: ClassVar[tuple[str, ...]] = ("label", "probabilities")

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> float:
        from sklearn.metrics import roc_auc_score

        labels, probabilities = columns["label"], columns["probabilities"].astype(np.float64)
        classes = [1] if len(class_names) == 2 else range(len(class_names))
        areas = [roc_auc_score(labels == i, _scores(probabilities, i)) for i in classes]
        return float(np.mean(areas))


class Recall(SplitMetric):
    """Share of the examples of each class that are classified correctly."""

    higher_is_better: ClassVar[bool | None] = True
    per_class: ClassVar[bool] = True
    required_columns: ClassVar[tuple[str, ...]] = ("label", "predicted")

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> np.ndarray:
        # Without scikit-learn, whose import would take most of the time of an evaluation.
        return _correct_share_per_class(columns["label"], columns["label"] == columns["predicted"], len(class_names))


class Precision(SplitMetric):
    """Share of the examples predicted as each class that belong to it."""

    higher_is_better: ClassVar[bool | None] = True
    per_class: ClassVar[bool] = True
    required_columns: ClassVar[tuple[str, ...]] = ("label", "predicted")

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> np.ndarray:
        return _correct_share_per_class(
            columns["predicted"], columns["label"] == columns["predicted"], len(class_names)
        )


class ConfusionMatrix(SplitMetric):
    """Number of examples by class (rows) and predicted class (columns)."""

    required_columns: ClassVar[tuple[str, ...]] = ("label", "predicted")

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> Int[np.ndarray, "classes classes"]:
        from sklearn.metrics import confusion_matrix

        return confusion_matrix(columns["label"], columns["predicted"], labels=range(len(class_names)))


class MajorityShare(SplitMetric):
    """Share of the most frequent class: the accuracy of a classifier that always predicts it."""

    required_columns: ClassVar[tuple[str, ...]] = ("label",)

    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> float:
        return np.bincount(columns["label"]).max() / len(columns["label"])


def _scores(probabilities: Float[np.ndarray, "examples classes"], i: int) -> Float[np.ndarray, " examples"]:
    """Returns the probability of class `i`, without the ties that float32 makes of probabilities close to 1."""
    own = probabilities[:, i]
    others = np.delete(probabilities, i, axis=1).sum(axis=1)
    return np.where(own < others, own, 1 - others)


def _correct_share_per_class(
    classes: Int[np.ndarray, " examples"], correct: np.ndarray, num_classes: int
) -> Float[np.ndarray, " classes"]:
    """Returns the share of correct examples in each class, [classes]; NaN for a class without examples."""
    counts = np.bincount(classes, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.bincount(classes, weights=correct, minlength=num_classes) / counts
