"""Batches: every example once an epoch, a function of the order seed and the step alone; similar lengths together."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.data.batching import NO_EXAMPLE, POOL_BATCHES, TrainingBatches, epoch_order, evaluation_batches
from lab10.data.dataset import Split
from lab10.data.texts import bucket_lengths

sizes, batch_sizes = st.integers(1, 60), st.integers(1, 70)
shuffle_seeds = st.integers(0, 2**40)


def numbered(examples: int) -> Split:
    """Examples that say which rows of the TFDS split they are: 5, 8, 11, …, which are not their positions."""
    return Split(
        5 + 3 * np.arange(examples),
        lambda row_ids, _: {"inputs": np.stack([row_ids, -row_ids], axis=1), "labels": row_ids},
    )


def ragged(lengths: np.ndarray, padded_lengths: tuple[int, ...]) -> Split:
    """Examples of these lengths, which repeat their row id as often as they are long."""

    def read(row_ids: np.ndarray, length: int | None) -> dict[str, np.ndarray]:
        within = np.arange(length) < lengths[(row_ids - 5) // 3][:, None]
        return {"inputs": row_ids[:, None] * within, "labels": row_ids}

    return Split(5 + 3 * np.arange(len(lengths)), read, lengths, padded_lengths)


RAGGED_SIZES = st.integers(1, 400)


@st.composite
def ragged_splits(draw, sizes=RAGGED_SIZES) -> Split:
    """Up to several pools of small batches, with up to five lengths to pad to."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = random.integers(0, draw(st.integers(1, 40)), draw(sizes), endpoint=True)
    longest = max(1, int(lengths.max()))
    shorter = draw(st.sets(st.integers(1, 40), max_size=4))
    return ragged(lengths, (*sorted(length for length in shorter if length < longest), longest))


small_batch_sizes = st.integers(1, 8)
splits = st.one_of(sizes.map(numbered), ragged_splits())


def real_rows(batch):
    assert batch["mask"].dtype == bool
    np.testing.assert_array_equal(batch["inputs"], np.stack([batch["labels"], -batch["labels"]], axis=1))
    assert not np.any(batch["labels"][~batch["mask"]]), "rows that only fill the batch are zero"
    return batch["labels"][batch["mask"]]


def steps_of(batches: TrainingBatches, epoch: int) -> range:
    return range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)


def least_holding(split: Split, examples: np.ndarray) -> int | None:
    """Computes `Split.padded_length` differently."""
    if split.lengths is None:
        return None
    return min(
        length for length in split.padded_lengths if all(split.lengths[example] <= length for example in examples)
    )


def real(examples: np.ndarray) -> np.ndarray:
    """The examples of a step, which stand in front of what only fills it."""
    count = int(np.sum(examples != NO_EXAMPLE))
    assert np.all(examples[:count] >= 0)
    assert np.all(examples[count:] == NO_EXAMPLE)
    return examples[:count]


@given(sizes, batch_sizes, shuffle_seeds, st.integers(0, 3))
def test_every_example_comes_exactly_once_an_epoch(examples, batch_size, seed, epoch):
    batches = TrainingBatches(numbered(examples), batch_size, seed)
    taken = [batches.batch(step) for step in steps_of(batches, epoch)]
    assert all(len(batch["mask"]) == min(batch_size, len(batches.split)) for batch in taken)
    assert all(batch["mask"].sum() == batch_size for batch in taken[:-1])
    assert sorted(np.concatenate([real_rows(batch) for batch in taken])) == list(numbered(examples).rows)


@given(ragged_splits(), small_batch_sizes, shuffle_seeds, st.integers(0, 3))
def test_every_example_comes_exactly_once_an_epoch_with_buckets(split, batch_size, seed, epoch):
    batches = TrainingBatches(split, batch_size, seed)
    taken = [batches.batch(step) for step in steps_of(batches, epoch)]
    assert len(taken) == math.ceil(len(split) / batch_size)
    assert all(len(batch["mask"]) == min(batch_size, len(batches.split)) for batch in taken)
    partial = [batch["mask"].sum() for batch in taken if batch["mask"].sum() < batch_size]
    assert partial == [len(split) % batch_size] * bool(len(split) % batch_size)
    assert sorted(np.concatenate([batch["labels"][batch["mask"]] for batch in taken])) == list(split.rows)
    assert not any(batch[name][~batch["mask"]].any() for batch in taken for name in ("inputs", "labels"))


@given(splits, batch_sizes, shuffle_seeds, st.lists(st.integers(0, 800), min_size=1, max_size=10))
def test_a_batch_is_a_function_of_seed_and_step_alone(split, batch_size, seed, steps):
    used = TrainingBatches(split, batch_size, seed)
    before = {step: used.batch(step) for step in steps}  # in whatever order the steps were asked for
    for step in sorted(before):
        fresh = TrainingBatches(split, batch_size, seed)
        for name, array in fresh.batch(step).items():
            np.testing.assert_array_equal(array, before[step][name])


@given(splits, batch_sizes, shuffle_seeds, st.integers(0, 3))
def test_a_batch_is_padded_to_the_least_length_that_holds_its_examples(split, batch_size, seed, epoch):
    batches = TrainingBatches(split, batch_size, seed)
    for step in steps_of(batches, epoch):
        examples, batch = batches.examples(step), batches.batch(step)
        length = least_holding(split, examples)
        assert length is None or batch["inputs"].shape == (min(batch_size, len(split)), length)
        for name, array in split.batch(examples, length).items():
            np.testing.assert_array_equal(batch[name][: len(examples)], array)


@given(splits, small_batch_sizes, shuffle_seeds, st.integers(0, 900), st.data())
def test_steps_agree_with_batches_for_any_partition_of_the_range(split, batch_size, seed, start, data):
    batches = TrainingBatches(split, batch_size, seed)
    plain = TrainingBatches(split, batch_size, seed)
    end = start + data.draw(st.integers(1, 60))
    while start < end:
        asked = min(start + data.draw(st.integers(1, 20)), end)
        steps = batches.indices(start, asked)
        assert steps.examples.shape[1] == min(batch_size, len(split))
        for step, examples in enumerate(steps.examples, start):
            np.testing.assert_array_equal(real(examples), plain.examples(step))
            assert steps.padded_length == least_holding(split, real(examples))
        start += len(steps.examples)
        assert start <= asked
        if start < asked:
            assert least_holding(split, plain.examples(start)) != steps.padded_length, (
                "it stops at another length alone"
            )


@given(st.integers(20, 60), batch_sizes, shuffle_seeds, st.integers(0, 1000))
def test_epochs_and_seeds_have_different_orders(examples, batch_size, seed, epoch):
    """Two orders of 20 examples agree by chance once in 10^18."""

    def order(seed, epoch):
        batches = TrainingBatches(numbered(examples), batch_size, seed)
        return tuple(np.concatenate([real_rows(batches.batch(step)) for step in steps_of(batches, epoch)]))

    assert len({order(seed, epoch), order(seed, epoch + 1), order(seed + 1, epoch)}) == 3


def long_tailed(examples: int, buckets: int, seed: int = 0) -> Split:
    """Lengths much like those of texts."""
    lengths = np.minimum(np.random.default_rng(seed).gamma(3.5, 40, examples).astype(np.int64) + 1, 250)
    return ragged(lengths, bucket_lengths(lengths, buckets))


@given(shuffle_seeds, st.integers(0, 1000))
def test_batches_are_redrawn_each_epoch_with_buckets(seed, epoch):
    split = long_tailed(8 * POOL_BATCHES * 4, buckets=3)
    orders = [epoch_order(*drawn, split, 4) for drawn in ((seed, epoch), (seed, epoch + 1), (seed + 1, epoch))]
    batches = [{frozenset(examples) for examples in order.tolist()} for order in orders]
    for one, other in itertools.combinations(batches, 2):
        assert len(one & other) < 10


def cells(split: Split, order: np.ndarray) -> int:
    """Ids in all batches of an order, those of padding counted."""
    return sum(len(examples) * least_holding(split, real(examples)) for examples in order)


def at_random(seed: int, split: Split, batch_size: int) -> np.ndarray:
    order = np.random.default_rng([seed, 0]).permutation(len(split))
    filled = np.pad(order, (0, -len(order) % batch_size), constant_values=NO_EXAMPLE)
    return filled.reshape(-1, batch_size)


@given(st.data(), small_batch_sizes, shuffle_seeds)
def test_full_batches_are_never_padded_more_than_in_random_order(data, batch_size, seed):
    split = data.draw(ragged_splits(st.integers(1, 400 // batch_size).map(lambda batches: batches * batch_size)))
    assert cells(split, epoch_order(seed, 0, split, batch_size)) <= cells(split, at_random(seed, split, batch_size))


@pytest.mark.parametrize("batch_size", [32, 100])
def test_batches_of_a_large_split_hold_similar_lengths(batch_size):
    split = long_tailed(10_001, buckets=6)
    assert len(split.padded_lengths) == 6
    grouped = cells(split, epoch_order(0, 0, split, batch_size))
    assert grouped < 0.75 * cells(split, at_random(0, split, batch_size))
    assert grouped < 1.25 * split.lengths.sum()


@given(ragged_splits(), small_batch_sizes, shuffle_seeds, st.integers(0, 3))
def test_the_padded_length_rarely_changes_within_an_epoch(split, batch_size, seed, epoch):
    order = epoch_order(seed, epoch, split, batch_size)
    runs = len(list(itertools.groupby(split.padded_length(real(examples)) for examples in order)))
    pools = math.ceil(len(split) / (POOL_BATCHES * batch_size))
    assert runs <= len(split.padded_lengths) * pools


@given(splits, st.lists(st.integers(0, 399), min_size=1))
def test_a_splits_padded_length_is_the_least_that_holds_the_examples(split, examples):
    examples = np.array(examples) % len(split)
    assert split.padded_length(examples) == least_holding(split, examples)


@given(sizes, batch_sizes)
def test_evaluation_covers_every_example_once_in_order(examples, batch_size):
    steps = evaluation_batches(numbered(examples), batch_size)
    assert all(one.examples.shape == (1, batch_size) for one in steps)
    assert {one.padded_length for one in steps} == {None}
    np.testing.assert_array_equal(np.concatenate([real(one.examples[0]) for one in steps]), np.arange(examples))


@given(ragged_splits(), batch_sizes)
def test_evaluation_covers_every_example_once_the_short_ones_first(split, batch_size):
    steps = evaluation_batches(split, batch_size)
    assert all(one.examples.shape == (1, batch_size) for one in steps)
    order = np.concatenate([real(one.examples[0]) for one in steps])
    assert sorted(order) == list(range(len(split)))
    assert np.all(np.diff(split.lengths[order]) >= 0)
    assert [one.padded_length for one in steps] == [least_holding(split, real(one.examples[0])) for one in steps]


lists_of_lengths = st.lists(st.integers(0, 300), min_size=1, max_size=200).map(np.array)


@given(lists_of_lengths, st.integers(1, 20))
def test_buckets_ascend_and_the_last_holds_every_example(lengths, buckets):
    found = bucket_lengths(lengths, buckets)
    assert 1 <= len(found) <= buckets
    assert list(found) == sorted(set(found))
    assert found[0] >= 1
    assert found[-1] == max(1, lengths.max())
    assert all(type(length) is int for length in found), "they go into the keys of compiled programs"


@given(lists_of_lengths)
def test_one_bucket_is_the_longest_example(lengths):
    assert bucket_lengths(lengths, 1) == (max(1, lengths.max()),)


@given(st.integers(1, 300), st.integers(1, 20))
def test_buckets_hold_equal_shares_of_the_examples(examples, buckets):
    found = bucket_lengths(1 + np.random.default_rng(0).permutation(examples), buckets)
    counts = np.diff([0, *found])  # every length from 1 on comes once
    assert counts.sum() == examples
    assert np.all(np.abs(counts - examples / buckets) < 2) or buckets > examples


def test_without_examples_there_are_no_buckets():
    assert bucket_lengths(np.arange(0), 6) == ()


def test_batches_of_a_pool_are_in_random_order():
    split = long_tailed(POOL_BATCHES * 4, buckets=5)
    orders = {
        tuple(dict.fromkeys(least_holding(split, real(examples)) for examples in epoch_order(0, epoch, split, 4)))
        for epoch in range(8)
    }
    assert len(orders) > 4, "of eight, a few may agree by chance"
