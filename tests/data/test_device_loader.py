"""Device loaders: resident or streamed, device batches equal those of the host."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from lab10.data.batching import NO_EXAMPLE, TrainingBatches, evaluation_batches
from lab10.data.dataset import Split
from lab10.data.device_loader import DeviceLoader
from lab10.training.step import StepFunctions

EXAMPLES, BATCH_SIZE = 41, 6


@pytest.fixture(params=["images", "texts padded in front", "texts padded behind"])
def examples(request, image_spec, text_spec, split_of, random_token_split):
    """A spec and a split."""
    if request.param == "images":
        random = np.random.default_rng(0)
        pixels, labels = random.integers(0, 256, (EXAMPLES, 12), np.uint8), random.integers(0, 10, EXAMPLES, np.int32)
        return image_spec, split_of(inputs=pixels, labels=labels)
    padding_side = "left" if request.param.endswith("left") else "right"
    return dataclasses.replace(text_spec, padding_side=padding_side), random_token_split(EXAMPLES, padding_side)


def loader_of(spec, split, max_batches, resident_bytes):
    return DeviceLoader(split, spec, Mesh(np.array(jax.local_devices()), ("data",)), max_batches, resident_bytes)


def size_in_bytes(split):
    return sum(array.nbytes for array in split.batch(np.arange(len(split))).values())


@pytest.mark.parametrize("max_batches", [1, 3, 16])
@pytest.mark.parametrize("resident", [True, False])
def test_device_batches_equal_host_batches(examples, resident, max_batches):
    spec, split = examples
    loader = loader_of(spec, split, max_batches, size_in_bytes(split) if resident else 0)
    assert loader.resident == resident
    batches = TrainingBatches(split, BATCH_SIZE, 0)
    on_device = jax.jit(lambda loaded, i: loaded[i])
    step, end, fewest = 0, 2 * batches.steps_per_epoch + 3, max_batches
    while step < end:
        indices = batches.indices(step, min(step + max_batches, end))
        fewest = min(fewest, len(indices))
        loaded = loader.load(indices)
        assert loaded.row_ids.shape == (max_batches, BATCH_SIZE)
        assert np.all(np.asarray(loaded.row_ids)[len(indices) :] == NO_EXAMPLE)
        for i in range(len(indices)):
            expected, batch = batches.batch(step + i), jax.device_get(on_device(loaded, jnp.int32(i)))
            np.testing.assert_array_equal(batch.pop("row_ids"), indices.examples[i])
            assert batch.keys() == expected.keys()
            real = expected["mask"]
            np.testing.assert_array_equal(batch["mask"], real)
            for name, array in expected.items():
                assert (batch[name].shape, batch[name].dtype) == (array.shape, array.dtype)
                np.testing.assert_array_equal(batch[name][real], array[real])
        step += len(indices)
    assert max_batches == 1 or fewest < max_batches, "some had fewer steps than there was room for"


@pytest.mark.parametrize("resident", [True, False])
def test_evaluation_loads_every_example(examples, resident):
    spec, split = examples
    loader = loader_of(spec, split, 2, size_in_bytes(split) if resident else 0)
    for indices in evaluation_batches(split, BATCH_SIZE):
        batch = jax.device_get(loader.load(indices)[0])
        real = indices.examples[0] != NO_EXAMPLE
        np.testing.assert_array_equal(batch["mask"], real)
        for name, array in split.batch(indices.examples[0][real], indices.padded_length).items():
            np.testing.assert_array_equal(batch[name][real], array)


def test_a_small_split_is_stored_on_the_device(examples):
    spec, split = examples
    assert loader_of(spec, split, 1, size_in_bytes(split)).resident
    assert not loader_of(spec, split, 1, size_in_bytes(split) - 1).resident


def test_a_call_streams_limited_bytes_but_at_least_two_batches(examples, monkeypatch):
    spec, split = examples
    streamed, resident = loader_of(spec, split, 16, 0), loader_of(spec, split, 16, size_in_bytes(split))
    bytes_of_batch = sum(array.nbytes for array in split.batch(np.zeros(BATCH_SIZE, int)).values())
    for limit, max_batches in ((1, 2), (5 * bytes_of_batch, 5), (6 * bytes_of_batch - 1, 5), (2**26, 16)):
        monkeypatch.setattr("lab10.data.device_loader.MAX_STREAMED_BYTES", limit)
        assert (streamed.max_batches_for(BATCH_SIZE), resident.max_batches_for(BATCH_SIZE)) == (max_batches, 16)
        indices = evaluation_batches(split, BATCH_SIZE, streamed.max_batches_for(BATCH_SIZE))[0]
        loaded = streamed.load(indices)
        assert len(loaded.row_ids) == max_batches
        assert {rows.shape[:2] for rows in loaded.arrays.values()} == {(max_batches, BATCH_SIZE)}
        abstract = streamed.abstract_batches(BATCH_SIZE, indices.padded_length)
        assert jax.tree.map(np.shape, abstract) == jax.tree.map(np.shape, loaded)


def test_the_limit_comes_from_the_experiment(image_experiment, image_spec, split_of):
    split, larger = (split_of(inputs=np.zeros((rows, 16), np.uint8)) for rows in (2**16, 2**16 + 1))

    def resident(limit, split):
        return StepFunctions(image_experiment(device_dataset_max_mib=limit), image_spec).device_loader(split).resident

    assert not resident(0, split)
    assert resident(1, split)
    assert not resident(1, larger)


def test_a_resident_split_is_read_once_and_a_streamed_one_as_needed(examples):
    spec, split = examples
    read = []

    def counting(row_ids, length):
        read.append(row_ids)
        return split.read(row_ids, length)

    counted = Split(split.rows, counting, split.lengths, split.padded_lengths)
    batches = TrainingBatches(counted, BATCH_SIZE, 0)
    resident, streamed = loader_of(spec, counted, 4, size_in_bytes(split)), loader_of(spec, counted, 4, 0)
    indices = batches.indices(0, 4)
    resident.load(indices)
    read.clear()
    resident.load(indices)
    assert read == []
    loaded = streamed.load(indices)
    taken = np.concatenate([batches.examples(step) for step in range(len(indices))])
    np.testing.assert_array_equal(np.concatenate(read), split.rows[taken])
    assert {rows.shape[:2] for rows in loaded.arrays.values()} == {(4, BATCH_SIZE)}, "one shape for any number of steps"


@pytest.mark.parametrize("max_resident_bytes", [2**30, 0], ids=["resident", "streamed"])
def test_abstract_batches_describe_the_loaded_ones_and_read_one_example(examples, max_resident_bytes):
    spec, split = examples
    read = []

    def counting(row_ids, length):
        read.append(len(row_ids))
        return split.read(row_ids, length)

    counted = Split(split.rows, counting, split.lengths, split.padded_lengths)
    loader = loader_of(spec, counted, 4, max_resident_bytes)
    indices = TrainingBatches(split, BATCH_SIZE, 0).indices(0, 4)
    abstract = loader.abstract_batches(BATCH_SIZE, indices.padded_length)
    assert max(read) == 1
    loaded = loader.load(indices)
    assert jax.tree.structure(abstract) == jax.tree.structure(loaded)
    for ours, theirs in zip(jax.tree.leaves(abstract), jax.tree.leaves(loaded), strict=True):
        assert (ours.shape, ours.dtype, ours.sharding) == (theirs.shape, theirs.dtype, theirs.sharding)
