"""Computing metrics: JSON types, undefined values and their reasons, and the mistakes of a metric's author."""

import json
import warnings

import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.metrics.class_metrics import AUC, F1, ConfusionMatrix, Precision, Recall
from lab10.metrics.compute import compute_metrics, scalars_of
from lab10.metrics.result_text import result_text
from lab10.metrics.split_metric import SplitMetric

CLASSES = ("neg", "pos")
COLUMNS = {
    "label": np.array([0, 1, 1, 0], np.int32),
    "predicted": np.array([0, 1, 0, 0], np.int32),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], np.float32),
}
ONLY_NEGATIVE = COLUMNS | {"label": np.zeros(4, np.int32), "predicted": np.zeros(4, np.int32)}


def user_metric(name, compute, **fields):
    """A new metric."""
    return type(name, (SplitMetric,), {"compute": lambda self, *arguments: compute(*arguments)} | fields)()


@pytest.fixture
def printed(monkeypatch):
    """The lines printed to the console."""
    from lab10.metrics import compute

    lines = []
    monkeypatch.setattr(compute.console, "print", lines.append)
    return lines


def test_values_are_json_and_lines_are_flat(printed):
    metrics = (F1(), AUC(), Recall(), ConfusionMatrix())
    values = compute_metrics(metrics, COLUMNS, CLASSES)
    assert values == {
        "f1": pytest.approx(2 / 3),
        "auc": 1.0,
        "recall": {"neg": 1.0, "pos": 0.5},
        "confusion_matrix": [[2, 0], [1, 1]],
    }
    assert json.loads(json.dumps(values)) == values
    scalars = {"f1": values["f1"], "auc": 1.0, "recall_neg": 1.0, "recall_pos": 0.5}
    assert scalars_of(metrics, values, CLASSES) == scalars
    assert printed == []


def test_an_undefined_value_is_none_and_its_reason_is_printed(printed):
    metrics = (F1(), AUC(), Recall(), Precision())
    values = compute_metrics(metrics, ONLY_NEGATIVE, CLASSES)
    json.dumps(values, allow_nan=False)
    assert values == {
        "f1": None,
        "auc": None,
        "recall": {"neg": 1.0, "pos": None},
        "precision": {"neg": 1.0, "pos": None},
    }
    assert scalars_of(metrics, values, CLASSES) == {"recall_neg": 1.0, "precision_neg": 1.0}
    assert printed[0] == "f1 is undefined on this split."
    assert printed[1].startswith("auc is undefined on this split: Only one class is present")
    assert printed[2:] == ["recall is undefined for pos.", "precision is undefined for pos."]


def test_infinity_is_undefined_too_and_a_warning_of_a_metric_is_printed(printed):
    def warns(columns, class_names):
        warnings.warn("few examples", stacklevel=1)
        return np.array([[1.0, np.inf]])

    calm = user_metric("Calm", lambda *_: (warnings.warn("hm", stacklevel=1), 1)[1])
    values = compute_metrics([user_metric("Wild", warns), calm], COLUMNS, CLASSES)
    assert values == {"wild": [[1.0, None]], "calm": 1.0}
    assert printed == ["wild is undefined on this split: few examples", "calm: hm"]


def test_a_metric_that_fails_is_named_with_its_line():
    broken = user_metric("Broken", lambda columns, class_names: columns["probabilty"])
    with pytest.raises(UserError, match=r"The metric broken failed: .*test_compute\.py, line \d+: KeyError"):
        compute_metrics([broken], COLUMNS, CLASSES)


@pytest.mark.parametrize(
    ("value", "fields", "expected"),
    [
        (np.zeros(3), {}, "returned the shape (3,); expected (), one number"),
        (np.zeros((2, 2)), {"higher_is_better": True}, "returned the shape (2, 2); expected (), one number"),
        (np.zeros(3), {"per_class": True}, "returned the shape (3,); expected (2,), a value for each class"),
        (np.zeros((2, 2)), {"per_class": True}, "returned the shape (2, 2); expected (2,)"),
        ("text", {}, "failed"),
    ],
)
def test_a_metric_of_another_shape_is_refused(value, fields, expected):
    with pytest.raises(UserError) as refused:
        compute_metrics([user_metric("Other", lambda *_: value, **fields)], COLUMNS, CLASSES)
    assert expected in str(refused.value)


def test_a_missing_column_is_named():
    with pytest.raises(UserError, match=r"metric f1 needs the column 'label', .* has only loss"):
        compute_metrics([F1()], {"loss": np.zeros(3)}, ())


def test_the_text_shows_numbers_classes_and_tables():
    result = {"split": "test", "examples": 4, "step": 7, "loss": 0.5, "auc": None}
    result |= {"recall": {"neg": 1.0, "pos": None}, "confusion_matrix": [[2, 0], [1, 10]]}
    result |= {"class_names": ["neg", "pos"], "read_count": None, "per_example": None}
    assert result_text(result).splitlines() == [
        "test, 4 examples, step 7: loss 0.5000",
        "auc: undefined",
        "recall: neg 1.0000, pos undefined",
        "confusion_matrix, rows: class, columns: predicted class",
        "       neg  pos",
        "  neg    2    0",
        "  pos    1   10",
    ]


def test_the_lowest_of_many_classes_are_shown():
    result = {"split": "test", "examples": 4, "step": 7, "loss": 0.5}
    result["recall"] = {f"c{i}": 1 - i / 100 for i in range(30)} | {"empty": None}
    line = result_text(result).splitlines()[1]
    assert line.startswith("recall, lowest 20 of 31 classes: c29 0.7100, c28 0.7200")
    assert line.count(" c") == 21


def test_a_table_of_other_size_has_no_names():
    result = {"split": "test", "examples": 4, "step": 7, "bins": [[0.5, None, 3]], "class_names": ["neg", "pos"]}
    assert result_text(result).splitlines()[1:] == ["bins", "  0.5  undefined  3"]


def test_a_metric_cannot_change_what_others_read():
    def sort_in_place(columns, _):
        column = columns["probabilities"][:, 1]
        column.sort()
        return column[0]

    columns = {name: column.copy() for name, column in COLUMNS.items()}
    with pytest.raises(UserError, match=r"Smallest failed|smallest failed.*read-only"):
        compute_metrics([user_metric("Smallest", sort_in_place)], columns, CLASSES)
    for name, column in columns.items():
        np.testing.assert_array_equal(column, COLUMNS[name])
        assert column.flags.writeable


@pytest.mark.parametrize("value", [None, "abc"])
def test_a_metric_that_returns_no_number_is_refused(value):
    with pytest.raises(UserError, match="The metric median failed") as error:
        compute_metrics([user_metric("Median", lambda *_: value)], COLUMNS, CLASSES)
    assert "compute.py" not in str(error.value), "the mistake is elsewhere"
