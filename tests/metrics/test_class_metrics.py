"""The built-in metrics of classifiers against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.metrics.class_metrics import AUC, F1, ConfusionMatrix, MajorityShare, Precision, Recall

CLASSES = ("neg", "neutral", "pos")


@st.composite
def columns(draw, num_classes):
    """Columns of an evaluation: float32 probabilities, of which some are close to 0 and 1, and their classes."""
    examples = draw(st.integers(1, 12))
    logits = draw(
        st.lists(
            st.lists(st.floats(-60, 60, width=32), min_size=num_classes, max_size=num_classes),
            min_size=examples,
            max_size=examples,
        )
    )
    probabilities = np.exp(np.array(logits) - np.max(logits, axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    label = draw(st.lists(st.integers(0, num_classes - 1), min_size=examples, max_size=examples))
    return {
        "label": np.array(label, np.int32),
        "predicted": probabilities.argmax(axis=1).astype(np.int32),
        "probabilities": probabilities.astype(np.float32),
    }


def counts(columns, i):
    """True positives, false positives and false negatives of a class."""
    label, predicted = columns["label"] == i, columns["predicted"] == i
    return np.sum(label & predicted), np.sum(~label & predicted), np.sum(label & ~predicted)


@given(columns(2))
def test_f1_of_two_classes_is_that_of_the_second(columns):
    hits, false, missed = counts(columns, 1)
    expected = 2 * hits / (2 * hits + false + missed) if hits + false + missed else np.nan
    np.testing.assert_allclose(F1().compute(columns, CLASSES[:2]), expected)


@given(columns(3))
def test_f1_of_several_classes_is_the_mean_over_those_that_occur(columns):
    of_each = [counts(columns, i) for i in range(3)]
    expected = [2 * hits / (2 * hits + false + missed) for hits, false, missed in of_each if hits + false + missed]
    np.testing.assert_allclose(F1().compute(columns, CLASSES), np.mean(expected))


@given(columns(3))
def test_recall_and_precision_are_computed_per_class(columns):
    recall, precision = Recall().compute(columns, CLASSES), Precision().compute(columns, CLASSES)
    for i in range(3):
        hits, false, missed = counts(columns, i)
        np.testing.assert_allclose(recall[i], hits / (hits + missed) if hits + missed else np.nan)
        np.testing.assert_allclose(precision[i], hits / (hits + false) if hits + false else np.nan)


def area(scores, positive):
    """The share of pairs of a positive and a negative example in which the positive one has the higher score."""
    higher = np.sign(scores[positive][:, None] - scores[~positive][None, :])
    return np.mean((higher + 1) / 2)


@pytest.mark.parametrize("num_classes", [2, 3])
@given(examples=st.integers(3, 12), seed=st.integers(0, 2**32 - 1))
def test_auc_is_the_fraction_of_correctly_ordered_pairs(num_classes, examples, seed):
    random = np.random.default_rng(seed)  # rounding may order scores that are equal or close, which are unlikely
    label = random.permutation(np.arange(examples) % num_classes).astype(np.int32)
    probabilities = random.dirichlet(np.ones(num_classes), examples)
    classes = [1] if num_classes == 2 else range(3)
    expected = np.mean([area(probabilities[:, i], label == i) for i in classes])
    columns = {"label": label, "probabilities": probabilities}
    np.testing.assert_allclose(AUC().compute(columns, CLASSES[:num_classes]), expected)


def test_auc_distinguishes_probabilities_that_float32_rounds_to_one():
    logits = np.array([18.0, 19.0, 20.0, 21.0])
    probabilities = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=1).astype(np.float32)
    assert len(set(probabilities[:, 1].tolist())) < 4
    columns = {"label": np.array([0, 0, 1, 1]), "probabilities": probabilities}
    assert AUC().compute(columns, CLASSES[:2]) == 1.0


@given(columns(3))
def test_the_confusion_matrix_counts_each_example_at_its_class_and_prediction(columns):
    matrix = ConfusionMatrix().compute(columns, CLASSES)
    expected = np.zeros((3, 3), int)
    for label, predicted in zip(columns["label"], columns["predicted"], strict=True):
        expected[label, predicted] += 1
    np.testing.assert_array_equal(matrix, expected)


@given(columns(3))
def test_the_majority_fraction_is_the_accuracy_of_a_constant_prediction(columns):
    accuracies = [np.mean(columns["label"] == i) for i in range(3)]
    assert MajorityShare().compute(columns, CLASSES) == pytest.approx(max(accuracies))
