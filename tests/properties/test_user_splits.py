"""Splits of user files: a partition, stratified by class or by whole groups, and a function of its arguments."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lab10.data.user_files.class_names import classes_of
from lab10.data.user_files.splitting import grouped_split, held_out_count, stratified_split

fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32)
columns = st.lists(st.integers(0, 4), min_size=2, max_size=120).map(np.array)


@given(columns, fractions, seeds)
def test_a_stratified_split_holds_out_the_fraction_of_each_class(classes, fraction, seed):
    held_out = stratified_split(classes, fraction, seed)
    total = held_out.sum()
    assert total == held_out_count(len(classes), fraction)
    assert 1 <= total < len(classes)
    for name in set(classes.tolist()):
        of_class = classes == name
        assert abs(held_out[of_class].sum() - of_class.sum() * total / len(classes)) < 1


@given(columns, fractions, seeds)
def test_a_split_is_a_function_of_its_arguments(classes, fraction, seed):
    np.testing.assert_array_equal(*(stratified_split(classes, fraction, seed) for _ in range(2)))
    groups = np.arange(len(classes)) // 2 if len(classes) > 2 else np.arange(2)
    np.testing.assert_array_equal(*(grouped_split(classes, groups, fraction, seed) for _ in range(2)))


def test_another_seed_holds_out_other_rows():
    classes = np.arange(1000) % 3
    one, other = (stratified_split(classes, 0.2, seed) for seed in (0, 1))
    assert 0 < (one & other).sum() < 100 < one.sum() == other.sum()


@st.composite
def grouped_rows(draw):
    rows = draw(st.integers(2, 120))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = random.integers(0, draw(st.integers(2, 40)), rows)
    groups[:2] = 0, 1
    return random.integers(0, draw(st.integers(1, 4)), rows), groups, random


@given(grouped_rows(), fractions, seeds)
def test_groups_are_not_split_and_the_order_of_rows_does_not_matter(rows, fraction, seed):
    classes, groups, random = rows
    held_out = grouped_split(classes, groups, fraction, seed)
    assert 1 <= held_out.sum() < len(groups)
    for group in set(groups.tolist()):
        assert len(set(held_out[groups == group].tolist())) == 1
    order = random.permutation(len(groups))
    np.testing.assert_array_equal(grouped_split(classes[order], groups[order], fraction, seed), held_out[order])


@given(seeds, st.floats(0.05, 0.95))
def test_small_groups_match_the_fraction_of_each_class(seed, fraction):
    """200 groups of one or two rows: the greedy choice misses no class by more than a group."""
    random = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(200), random.integers(0, 200, 100)])
    classes = groups % 2  # the rows of a group share their class, as those of a patient do
    held_out = grouped_split(classes, groups, fraction, seed)
    for name in (0, 1):
        of_class = classes == name
        largest = np.bincount(groups[of_class]).max()
        assert abs(held_out[of_class].sum() - fraction * of_class.sum()) <= largest


labels = st.one_of(
    st.lists(st.integers(-20, 20).map(str), min_size=1),
    st.lists(st.sampled_from(["true", "True", "FALSE", "false"]), min_size=1),
    st.lists(st.text(min_size=1, max_size=4), min_size=1),
    st.lists(st.floats(-5, 5).map(str), min_size=1),
)


@given(labels)
def test_each_label_has_the_class_that_means_the_same(labels):
    names, classes = classes_of(labels)
    assert len(set(names)) == len(names) == len(set(classes.tolist())) == classes.max() + 1
    for label, class_id in zip(labels, classes.tolist(), strict=True):
        name = names[class_id]
        assert name == label or name == label.casefold() or float(name) == float(label)


@given(labels, st.randoms(use_true_random=False))
def test_classes_do_not_depend_on_the_order_of_rows(labels, random):
    shuffled = random.sample(labels, len(labels))
    assert classes_of(shuffled)[0] == classes_of(labels)[0]


def test_numbers_are_sorted_as_numbers_and_codes_as_words():
    assert classes_of(["10", "9", "2.0", "2", "-1"])[0] == ("-1", "2", "9", "10")
    assert classes_of(["010", "9"])[0] == ("010", "9")
    assert classes_of(["0.5", ".5", "5e-1"])[0] == ("0.5",)
    assert classes_of(["True", "false", "TRUE"])[0] == ("false", "true")
    assert classes_of(["1", "true"])[0] == ("1", "true")
    long = [f"1234567890123456789012{digit}" for digit in "12"]
    assert list(classes_of(long)[0]) == long


def test_another_seed_holds_out_other_groups():
    groups = np.arange(60) // 3
    splits = [grouped_split(np.zeros(60, int), groups, 0.3, seed) for seed in range(5)]
    assert len({split.tobytes() for split in splits}) > 1
