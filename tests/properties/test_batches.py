"""Batches: every example once an epoch, as a function of the order seed and the step alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lab10.data.batching import TrainingBatches, epoch_order, evaluation_batches
from lab10.data.dataset import Split

sizes, batch_sizes = st.integers(1, 60), st.integers(1, 70)
order_seeds = st.integers(0, 2**40)


def numbered(examples: int) -> Split:
    """Examples that say where in TFDS's split they lie: places 5, 8, 11, …, which are not their positions."""
    return Split(
        5 + 3 * np.arange(examples), lambda places: {"inputs": np.stack([places, -places], axis=1), "labels": places}
    )


def real_rows(batch):
    assert batch["mask"].dtype == bool
    np.testing.assert_array_equal(batch["inputs"], np.stack([batch["labels"], -batch["labels"]], axis=1))
    assert not np.any(batch["labels"][~batch["mask"]]), "rows that only fill the batch are zero"
    return batch["labels"][batch["mask"]]


@given(sizes, batch_sizes, st.integers(0, 9), order_seeds, st.integers(0, 3))
def test_every_example_comes_exactly_once_an_epoch(examples, batch_size, extra, seed, epoch):
    batches = TrainingBatches(numbered(examples), batch_size, seed, batch_size + extra)
    steps = batches.steps_per_epoch
    taken = [batches.batch(step) for step in range(epoch * steps, (epoch + 1) * steps)]
    assert all(len(batch["mask"]) == batch_size + extra for batch in taken)
    assert all(batch["mask"].sum() == batch_size for batch in taken[:-1])
    assert sorted(np.concatenate([real_rows(batch) for batch in taken])) == list(numbered(examples).rows)


@given(sizes, batch_sizes, order_seeds, st.lists(st.integers(0, 200), min_size=1, max_size=10))
def test_a_batch_is_a_function_of_seed_and_step_alone(examples, batch_size, seed, steps):
    used = TrainingBatches(numbered(examples), batch_size, seed, batch_size)
    before = {step: used.batch(step) for step in steps}  # in whatever order the steps were asked for
    epoch_order.cache_clear()
    fresh = TrainingBatches(numbered(examples), batch_size, seed, batch_size)
    for step in sorted(before):
        for name, array in fresh.batch(step).items():
            np.testing.assert_array_equal(array, before[step][name])


@given(st.integers(20, 60), batch_sizes, order_seeds, st.integers(0, 1000))
def test_epochs_differ_in_order_and_so_do_seeds(examples, batch_size, seed, epoch):
    """Of 20 examples two orders agree by chance once in 10^18."""

    def order(seed, epoch):
        batches = TrainingBatches(numbered(examples), batch_size, seed, batch_size)
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        return tuple(np.concatenate([real_rows(batches.batch(step)) for step in steps]))

    assert len({order(seed, epoch), order(seed, epoch + 1), order(seed + 1, epoch)}) == 3


@given(sizes, batch_sizes)
def test_evaluation_covers_every_example_once_in_order(examples, batch_size):
    batches = list(evaluation_batches(numbered(examples), batch_size))
    assert all(len(batch["mask"]) == batch_size for batch in batches)
    np.testing.assert_array_equal(np.concatenate([real_rows(batch) for batch in batches]), numbered(examples).rows)
