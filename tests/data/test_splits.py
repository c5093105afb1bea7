"""The validation rows that are held out, and splits that share rows."""

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.splits import classes_left_out, hold_out, missing_classes, require_disjoint

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**40)
# Few large classes and rare ones, and rows without a label.
labels = st.lists(st.sampled_from([-1, 0, 0, 0, 0, 0, 0, 1, 1, 2, 7]), min_size=2, max_size=80).map(np.array)


def drawn_before_classes_were_considered(examples, fraction, seed):
    """The draw of published results."""
    held_out = min(max(round(fraction * examples), 1), examples - 1)
    order = np.random.default_rng([seed, examples]).permutation(examples)
    return np.isin(np.arange(examples), order[:held_out])


@given(labels, fractions, seeds)
def test_every_class_is_in_training_and_in_validation(labels, fraction, seed):
    held_out = hold_out(len(labels), fraction, seed, labels)
    assert classes_left_out(held_out, labels) == 0
    for label in np.unique(labels[labels >= 0]):
        of_class = held_out[labels == label]
        assert len(of_class) == 1 or 0 < of_class.sum() < len(of_class)


@given(labels, fractions, seeds)
def test_the_draw_is_the_published_one_unless_it_leaves_out_a_class(labels, fraction, seed):
    published = drawn_before_classes_were_considered(len(labels), fraction, seed)
    np.testing.assert_array_equal(hold_out(len(labels), fraction, seed), published)
    held_out = hold_out(len(labels), fraction, seed, labels)
    assert np.array_equal(held_out, published) == (classes_left_out(published, labels) == 0)


@given(labels, fractions, seeds)
def test_a_draw_by_class_holds_out_the_fraction_of_each_class(labels, fraction, seed):
    held_out = hold_out(len(labels), fraction, seed, labels)
    classes = len(np.unique(labels))
    assert abs(held_out.sum() - fraction * len(labels)) <= classes + 1


@given(labels, st.lists(st.integers(0, 5), min_size=80, max_size=80), fractions, seeds)
def test_groups_are_not_split(labels, groups, fraction, seed):
    groups = np.unique(groups[: len(labels)], return_inverse=True)[1]
    held_out = hold_out(len(labels), fraction, seed, labels, groups)
    for group in np.unique(groups):
        assert len(np.unique(held_out[groups == group])) == 1
    assert held_out.any() == (groups.max() > 0)
    assert not held_out.all()
    np.testing.assert_array_equal(held_out, hold_out(len(labels), fraction, seed, labels, groups))


def test_groups_are_redrawn_until_no_class_is_missing():
    groups = np.repeat(np.arange(20), 5)
    labels = (groups >= 18).astype(int)  # two groups of the rare class: one random draw in ten has one of them
    for seed in range(5):
        held_out = hold_out(100, 0.1, seed, labels, groups)
        assert classes_left_out(held_out, labels) == 0
        assert held_out.sum() == 10


def test_a_rare_class_of_three_rows_is_held_out():
    labels = np.array([0] * 57 + [1] * 3)
    for seed in range(20):
        held_out = hold_out(60, 0.1, seed, labels)
        assert 1 <= held_out[57:].sum() <= 2


def test_classes_without_an_example_are_named():
    assert missing_classes(np.array([0, 2, 2, -1]), ("a", "b", "c", "d")) == ["b", "d"]
    assert missing_classes(np.array([-1, -1]), ()) == []


def splits(**ranges):
    """A stand-in for TFDS's splits: rows of files by name of the split."""
    return {
        name: types.SimpleNamespace(
            file_instructions=[
                types.SimpleNamespace(filename=file, skip=start, take=stop - start) for file, start, stop in rows
            ]
        )
        for name, rows in ranges.items()
    }


def test_splits_with_rows_in_common_are_refused_with_their_options():
    existing = splits(
        train=[("a", 0, 60), ("b", 0, 40)], end=[("b", 30, 40)], rest=[("b", 40, 50)], twice=[("a", 0, 2)] * 2
    )
    for test in ("rest", "not_there"):
        require_disjoint("few", existing, {"--data.train-split": "train", "--data.test-split": test})
    with pytest.raises(UserError, match=r"--data.train-split train and --data.test-split end of few have 10 row"):
        require_disjoint("few", existing, {"--data.train-split": "train", "--data.test-split": "end"})
    with pytest.raises(UserError, match=r"--data.train-split twice of few contains rows twice"):
        require_disjoint("few", existing, {"--data.train-split": "twice"})
