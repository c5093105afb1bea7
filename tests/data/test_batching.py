"""Filling and steps; properties/test_batches.py has what holds for every size."""

import numpy as np

from lab10.data.batching import TrainingBatches, evaluation_batches, fill


def test_a_filled_batch_has_zeros_and_a_mask_behind_its_examples():
    batch = fill({"inputs": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": np.array([7, 8], np.int32)}, 4)
    np.testing.assert_array_equal(batch["inputs"], [[0, 1, 2], [3, 4, 5], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(batch["labels"], [7, 8, 0, 0])
    np.testing.assert_array_equal(batch["mask"], [True, True, False, False])
    assert batch["inputs"].dtype == np.uint8
    assert batch["labels"].dtype == np.int32


def test_the_last_batch_of_an_epoch_is_partial_and_the_next_step_starts_an_epoch(split_of):
    batches = TrainingBatches(split_of(inputs=np.arange(10)), batch_size=4, shuffle_seed=0)
    assert batches.steps_per_epoch == 3
    assert [int(batches.batch(step)["mask"].sum()) for step in range(5)] == [4, 4, 2, 4, 4]


def test_an_empty_split_has_no_evaluation_batches(split_of):
    assert evaluation_batches(split_of(inputs=np.arange(0)), 4) == []
