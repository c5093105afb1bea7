"""An own task: pytrees of outputs, several terms, randomness, and refused mistakes."""

import dataclasses
import re
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lab10.config.errors import UserError
from lab10.data.batching import fill
from lab10.tasks.task import Task
from lab10.training.evaluation import evaluate
from lab10.training.step import StepFunctions


class Outputs(NamedTuple):
    """A code and what it was drawn from."""

    code: jax.Array
    mean: jax.Array


class NoisyModule(nn.Module):
    """A code with noise from a random stream."""

    stream: str = "sample"

    @nn.compact
    def __call__(self, x):
        mean = nn.Dense(2)(x)
        return Outputs(mean + jax.random.normal(self.make_rng(self.stream), mean.shape), mean)


@dataclasses.dataclass(frozen=True)
class TwoTerms:
    """Two terms, and randomness of its own. No subclass, which would be a component for all tests of this process."""

    metrics: ClassVar[dict[str, bool]] = {"loss": False, "size": False, "noise": False, "drawn": False}
    output_type: ClassVar[str] = "Outputs"
    adversarial_radius: ClassVar[float] = 0.0
    checked_per_example = Task.checked_per_example

    def per_example(self, outputs: Outputs, batch: Any, key: jax.Array) -> dict[str, jax.Array]:
        size, noise = jnp.sum(outputs.mean**2, axis=-1), jnp.sum((outputs.code - outputs.mean) ** 2, axis=-1)
        drawn = jax.random.uniform(key, size.shape)
        return {"loss": size + noise, "size": size, "noise": noise, "drawn": drawn}

    def extra_columns(self, outputs: Outputs, batch: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"drawn_again": jax.random.uniform(key, outputs.mean.shape[:1])}


@dataclasses.dataclass(frozen=True)
class NoisyModel:
    stream: str
    output_type: ClassVar[str] = "Outputs"

    def build(self, spec: Any) -> nn.Module:
        return NoisyModule(self.stream)


class WrongName(TwoTerms):
    def per_example(self, outputs, batch, key):
        return {"loss": jnp.zeros(len(outputs.mean)), "sizes": jnp.zeros(len(outputs.mean))}


class WrongShape(TwoTerms):
    def per_example(self, outputs, batch, key):
        return super().per_example(outputs, batch, key) | {"noise": outputs.code}


class NoDict(TwoTerms):
    def per_example(self, outputs, batch, key):
        return jnp.mean(outputs.code)


class CountedLoss(TwoTerms):
    def per_example(self, outputs, batch, key):
        return super().per_example(outputs, batch, key) | {"loss": jnp.argmax(outputs.code, axis=-1)}


@pytest.fixture
def functions(image_experiment, image_spec):
    """Makes the functions of a task with the noisy model."""

    def make(task, stream="sample", **fields):
        experiment = image_experiment(**fields)
        object.__setattr__(experiment, "task", task)
        object.__setattr__(experiment, "model", NoisyModel(stream))
        return StepFunctions(experiment, image_spec, 10)

    return make


def pixels(rows):
    return np.random.default_rng(0).integers(0, 256, (rows, 12), np.uint8)


def test_each_term_is_a_metric_and_each_step_has_new_samples(functions):
    program = functions(TwoTerms())
    state, batch, metrics = program.init_state(program.init_params()), fill({"inputs": pixels(5)}, 6), []
    step = jax.jit(program.train_step)
    for _ in range(2):
        state, of_step = step(state, batch)
        metrics.append(of_step.means())
    for means in metrics:
        assert list(means) == ["loss", "drawn", "noise", "size"]
        np.testing.assert_allclose(means["loss"], means["size"] + means["noise"], rtol=1e-5)
    assert metrics[0]["noise"] != metrics[1]["noise"], "the module's stream"
    assert metrics[0]["drawn"] != metrics[1]["drawn"], "the task's key"


@pytest.mark.parametrize("device_dataset_max_mib", [1, 0], ids=["resident", "streamed"])
def test_evaluation_draws_for_each_batch_and_is_repeatable(functions, split_of, device_dataset_max_mib):
    split, columns = split_of(inputs=np.repeat(pixels(1), 11, axis=0)), []
    for megabytes in (1, device_dataset_max_mib):
        program = functions(TwoTerms(), evaluation_batch_size=4, device_dataset_max_mib=megabytes)
        columns.append(evaluate(program, program.init_params(), program.device_loader(split)).per_example)
    for name, values in columns[0].items():
        np.testing.assert_array_equal(columns[1][name], values)
    assert len(np.unique(columns[0]["size"])) == 1, "one image"
    assert len(np.unique(columns[0]["noise"])) == len(np.unique(columns[0]["drawn"])) == 11, "but other draws"
    np.testing.assert_array_equal(columns[0]["drawn"], columns[0]["drawn_again"])


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            WrongName(),
            "per_example returns loss, sizes; expected the names in its `metrics`: loss, size, noise, drawn.",
        ),
        (WrongShape(), "per_example returns 'noise' of shape [6, 2] for a batch of 6 rows; expected [6]"),
        (
            NoDict(),
            "per_example returns an array; expected a dict of arrays, by the names in its `metrics`: loss, size",
        ),
        (CountedLoss(), "per_example returns a loss of type int32, which has no gradient; expected float32."),
    ],
)
def test_a_task_that_returns_other_metrics_is_refused(functions, task, message):
    program = functions(task)
    batch = fill({"inputs": pixels(6)}, 6)
    with pytest.raises(UserError, match=re.escape(message)):
        jax.eval_shape(program.train_step, program.abstract_state(), batch)
    with pytest.raises(UserError, match=re.escape(message)):
        jax.eval_shape(program.eval_step, program.abstract_params(), batch, jax.random.key(0))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"error": False}, "The task TwoTerms has no metric 'loss'; expected a dict `metrics` with 'loss'"),
        ({"loss": False, "bits/dim": False}, "the metric 'bits/dim'; expected letters, digits and underscores"),
    ],
)
def test_names_that_metrics_cannot_have_are_refused(metrics, message, monkeypatch):
    monkeypatch.setattr(TwoTerms, "metrics", metrics)
    with pytest.raises(UserError, match=re.escape(message)):
        Task.require_valid_metrics(TwoTerms())


def test_a_model_that_uses_an_unknown_stream_is_refused(functions):
    program = functions(TwoTerms(), stream="nois")
    with pytest.raises(UserError, match='"nois"') as raised:
        jax.eval_shape(program.train_step, program.abstract_state(), fill({"inputs": pixels(6)}, 6))
    assert "Training has the streams dropout and sample" in str(raised.value)
