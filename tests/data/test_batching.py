"""Filling, steps and transfers; properties/test_batches.py has what holds for every size."""

import jax
import numpy as np
import pytest

from lab10.data.batching import TrainingBatches, evaluation_batches, fill, on_device


def test_a_filled_batch_has_zeros_and_a_mask_behind_its_examples():
    batch = fill({"inputs": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": np.array([7, 8], np.int32)}, 4)
    np.testing.assert_array_equal(batch["inputs"], [[0, 1, 2], [3, 4, 5], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(batch["labels"], [7, 8, 0, 0])
    np.testing.assert_array_equal(batch["mask"], [True, True, False, False])
    assert batch["inputs"].dtype == np.uint8
    assert batch["labels"].dtype == np.int32


def test_the_last_batch_of_an_epoch_is_partial_and_the_next_step_starts_an_epoch(split_of):
    batches = TrainingBatches(split_of(inputs=np.arange(10)), batch_size=4, order_seed=0, padded_size=4)
    assert batches.steps_per_epoch == 3
    assert [int(batches.batch(step)["mask"].sum()) for step in range(5)] == [4, 4, 2, 4, 4]


def test_an_empty_split_has_no_evaluation_batches(split_of):
    assert list(evaluation_batches(split_of(inputs=np.arange(0)), 4)) == []


@pytest.mark.parametrize("ahead", [0, 1, 2, 50])
def test_batches_reach_the_device_in_order_and_ahead_of_the_one_that_is_taken(ahead):
    prepared = []

    def host_batches():
        for place in range(6):
            prepared.append(place)
            yield {"inputs": np.full(2, place)}

    taken = []
    for batch in on_device(host_batches(), jax.sharding.SingleDeviceSharding(jax.local_devices()[0]), ahead):
        taken.append(int(batch["inputs"][0]))
        assert isinstance(batch["inputs"], jax.Array)
        assert len(prepared) == min(len(taken) + ahead, 6), "neither later nor more than was asked for"
    assert taken == list(range(6))
