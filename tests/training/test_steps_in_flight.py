"""Calls of many steps: the bits of a run depend neither on the number of steps nor on where the dataset is stored."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.stepper import Stepper
from lab10.data.batching import TrainingBatches
from lab10.data.images import ImageDataset
from lab10.data.transforms import GaussianNoise
from lab10.training.step import LoopBody, StepFunctions, run_steps

EXAMPLES, BATCH_SIZE, STEPS = 41, 6, 12  # the seventh step has five examples and ends the epoch


SLOW_TEXTS = [pytest.param(name, marks=pytest.mark.slow) for name in ("texts left", "texts right")]
# Each test compiles another program: of LSTMs, `make test` runs only the one that compares bits.
mostly_images = pytest.mark.parametrize("task", ["images", *SLOW_TEXTS], indirect=True)


@pytest.fixture(scope="module", params=["images", "texts left", SLOW_TEXTS[1]])
def task(request, image_experiment, image_spec, text_experiment, text_spec, split_of, random_token_split):
    """Makes an experiment; its spec; its train split. Images have noise, so that each step's randomness counts."""
    if request.param == "images":
        pixels = np.random.default_rng(0).integers(0, 256, (EXAMPLES, 12), np.uint8)

        def make(**fields):
            return image_experiment(data=ImageDataset(transform=GaussianNoise()), batch_size=BATCH_SIZE, **fields)

        return make, image_spec, split_of(inputs=pixels)
    padding_side = "left" if request.param.endswith("left") else "right"

    def make(**fields):
        return text_experiment(batch_size=BATCH_SIZE, **fields)

    return make, dataclasses.replace(text_spec, padding_side=padding_side), random_token_split(EXAMPLES, padding_side)


def host(tree):
    return jax.tree.map(np.array, jax.device_get(tree))


def train(task, steps_per_execution, device_dataset_max_mib):
    """The state after all steps, the metrics of each, and the number of steps of each call."""
    make, spec, split = task
    experiment = make(steps_per_execution=steps_per_execution, device_dataset_max_mib=device_dataset_max_mib)
    functions = StepFunctions(experiment, spec, STEPS)
    stepper = Stepper(functions, split)
    state, step, metrics, sizes = functions.init_state(functions.init_params()), 0, [], []
    while step < STEPS:
        before = step
        state, step = stepper.advance(state, step, STEPS)
        sizes.append(step - before)
        metrics += stepper.fetch_metrics(keep_in_flight=1)
    metrics += stepper.fetch_metrics()
    assert [number for number, _ in metrics] == list(range(1, STEPS + 1))
    return host(state), [step_metrics for _, step_metrics in metrics], sizes


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def one_by_one(task):
    return train(task, 1, 1)


@pytest.mark.parametrize("device_dataset_max_mib", [1, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize(
    "steps_per_execution", [5, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 12, None))]
)
def test_the_bits_depend_on_neither_steps_per_execution_nor_storage(
    task, one_by_one, steps_per_execution, device_dataset_max_mib
):
    state, metrics, sizes = train(task, steps_per_execution, device_dataset_max_mib)
    expected_state, expected_metrics, _ = one_by_one
    assert int(state.step) == STEPS
    assert_same_bits(state, expected_state)
    assert_same_bits(metrics, expected_metrics)
    assert steps_per_execution is None or max(sizes) <= steps_per_execution
    assert (max(sizes) > 1) == (steps_per_execution != 1), "several steps must run in one call"


@mostly_images
def test_the_bits_do_not_depend_on_how_much_a_call_streams(task, one_by_one, monkeypatch):
    monkeypatch.setattr("lab10.data.device_loader.MAX_STREAMED_BYTES", 1)
    state, metrics, sizes = train(task, None, 0)
    assert max(sizes) == 2
    assert_same_bits(state, one_by_one[0])
    assert_same_bits(metrics, one_by_one[1])


def test_metrics_count_the_examples_of_each_step(task, one_by_one):
    _, _, split = task
    batches = TrainingBatches(split, BATCH_SIZE, 0)
    counts = [metrics.count for metrics in one_by_one[1]]
    assert counts == [len(batches.examples(step)) for step in range(STEPS)]
    assert min(counts) == 5, "one batch is partial"


@mostly_images
def test_many_steps_in_one_call_agree_with_single_steps(task, one_by_one):
    make, spec, split = task
    functions = StepFunctions(make(), spec, STEPS)
    train_step = jax.jit(functions.train_step)
    batches = TrainingBatches(split, BATCH_SIZE, 0)
    state, (expected, expected_metrics, _) = functions.init_state(functions.init_params()), one_by_one
    for step in range(STEPS):
        state, metrics = train_step(state, batches.batch(step))
        np.testing.assert_allclose(metrics.count, expected_metrics[step].count)
        for name, total in metrics.totals.items():
            np.testing.assert_allclose(total, expected_metrics[step].totals[name], rtol=1e-5)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(host(state)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@mostly_images
def test_one_program_serves_any_number_of_steps_of_a_length(task):
    make, spec, split = task
    functions = StepFunctions(make(log_every=99), spec, STEPS)  # not equal to any other test's
    body = LoopBody(functions)
    loader, batches = functions.device_loader(split, 5), TrainingBatches(split, BATCH_SIZE, 0)
    state, lengths, compiled = functions.init_state(functions.init_params()), set(), run_steps._cache_size()
    for start, end in ((0, 1), (0, 5), (1, 3), (3, 7), (7, 12), (8, 9)):
        indices = batches.indices(start, end)
        loaded = loader.load(indices)
        carry = (state, body.zero_metrics(5))
        state, _ = run_steps(0, loaded.num_batches, body.with_batches(loaded), carry)
        lengths.add(indices.padded_length)
        assert run_steps._cache_size() - compiled == len(lengths)


@pytest.mark.slow  # test_loop.py forbids them in whole runs
@pytest.mark.parametrize("device_dataset_max_mib", [1, 0], ids=["resident", "streamed"])
def test_there_are_no_implicit_transfers(task, device_dataset_max_mib):
    make, spec, split = task
    experiment = make(steps_per_execution=5, device_dataset_max_mib=device_dataset_max_mib)
    functions = StepFunctions(experiment, spec, STEPS)
    stepper, state, step = Stepper(functions, split), functions.init_state(functions.init_params()), 0
    with jax.transfer_guard("disallow"):
        while step < STEPS:
            state, step = stepper.advance(state, step, STEPS)
            assert all(np.isfinite(metrics.totals["loss"]) for _, metrics in stepper.fetch_metrics(keep_in_flight=1))
        assert all(np.isfinite(metrics.totals["loss"]) for _, metrics in stepper.fetch_metrics())


@pytest.mark.parametrize("steps_per_execution", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_split_smaller_than_a_batch_is_one_step_per_epoch(
    text_experiment, text_spec, random_token_split, steps_per_execution
):
    experiment = text_experiment(batch_size=50, steps_per_execution=steps_per_execution)
    functions = StepFunctions(experiment, text_spec, 3)
    stepper, state, step = Stepper(functions, random_token_split(7)), functions.init_state(functions.init_params()), 0
    assert stepper.steps_per_epoch == 1
    while step < 3:
        state, step = stepper.advance(state, step, 3)
    assert [(number, metrics.count) for number, metrics in stepper.fetch_metrics()] == [(1, 7), (2, 7), (3, 7)]
