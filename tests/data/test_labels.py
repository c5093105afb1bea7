"""Labels of every type, as classes."""

import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.data.labels import MAX_NUMBER_CLASSES, Labels, find_labels
from lab10.data.tfds_import import import_tfds


@pytest.fixture(scope="module")
def features():
    tfds = import_tfds()
    return dict(
        tfds.features.FeaturesDict(
            {
                "kind": tfds.features.ClassLabel(names=["a", "b"]),
                "label": np.int64,
                "is_spam": np.bool_,
                "score": np.float32,
                "words": tfds.features.Text(),
                "box": tfds.features.Tensor(shape=(4,), dtype=np.int32),
            }
        ).items()
    )


def opened(features, name, values):
    labels = find_labels("few", features, name)
    raw = labels.read([{name: value} for value in values])
    return labels.with_classes("few", raw, is_required=True), raw


def test_names_that_the_dataset_declares_are_the_classes(features):
    labels, raw = opened(features, "kind", [1, 0, -1])
    assert labels.class_names == ("a", "b")
    np.testing.assert_array_equal(labels.classes("few", "train", raw), [1, 0, -1])
    assert raw.dtype == np.int32


def test_numbers_become_classes_in_ascending_order(features):
    labels, raw = opened(features, "label", [4, 0, 2, 4])
    assert labels.class_names == ("0", "2", "4")
    np.testing.assert_array_equal(labels.classes("few", "train", raw), [2, 0, 1, 2])
    assert opened(features, "label", [-1, 1])[0].class_names == ("-1", "1")
    assert opened(features, "is_spam", [True, False])[0].class_names == ("False", "True")
    assert opened(features, "score", [1.0, 0.0])[0].class_names == ("0", "1")


def test_an_unseen_label_is_named(features):
    labels, _ = opened(features, "label", [0, 2])
    with pytest.raises(UserError, match=r"The test split of few has the label 3, .* its labels are 0, 2"):
        labels.classes("few", "test", np.array([0, 3]))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("score", [1.0, 3.25], "contains 3.25, which is a measurement"),
        ("score", [1.0, float("nan")], "contains nan"),
        ("label", range(MAX_NUMBER_CLASSES + 1), f"at most {MAX_NUMBER_CLASSES} classes"),
    ],
)
def test_numbers_that_are_not_classes_are_refused_if_requested(features, name, values, words):
    with pytest.raises(UserError, match=words):
        opened(features, name, values)
    labels = find_labels("few", features, name)
    assert labels.with_classes("few", np.array(values), is_required=False) == Labels()


def test_a_feature_that_is_missing_or_of_another_type_is_named_with_its_type(features):
    with pytest.raises(
        UserError, match=r"few has no feature 'polarity'; it has box, is_spam, kind, .*\n.*--data.label-feature"
    ):
        find_labels("few", features, "polarity")
    with pytest.raises(UserError, match=r"'words' of few is Text; expected a class label"):
        find_labels("few", features, "words")
    with pytest.raises(UserError, match=r"'box' of few is Tensor of int32"):
        find_labels("few", features, "box")


def test_label_is_the_default(features):
    assert find_labels("few", features, None).feature == "label"
    assert find_labels("few", {"words": features["words"]}, None) is None
    assert find_labels("few", {"label": features["words"]}, None) is None
    np.testing.assert_array_equal(Labels().read([{}, {}]), [-1, -1])
    np.testing.assert_array_equal(Labels().classes("few", "train", np.zeros(2)), [-1, -1])
