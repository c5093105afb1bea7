"""Own training steps: the documented one, and one that accumulates gradients."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.cli.overrides import load_experiment_file
from lab10.data.images import ImageDataset
from lab10.inspection.load import load
from lab10.models.autoencoder import MLPAutoencoder
from lab10.optim.optimizers import SGD
from lab10.training.ensemble import Ensemble
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "your_code.md"
HEAD = '''"""Training steps of a test."""
import dataclasses

import jax
import jax.numpy as jnp
import optax

from lab10.cli.overrides import load_experiment
from lab10.config.fields import traced_field
from lab10.training.train_steps import TrainStep

'''
ACCUMULATION = '''
@dataclasses.dataclass(frozen=True, kw_only=True)
class InParts(TrainStep):
    """Adds up the gradients of parts of the batch, for batches that do not fit into memory at once."""

    parts: int = 2
    """Parts of a batch."""

    def __call__(self, functions, state, batch):
        parts = {name: rows.reshape(self.parts, -1, *rows.shape[1:]) for name, rows in batch.items()}
        grad = lambda part: jax.grad(functions.loss(state, part), has_aux=True)(state.params)
        mean_grads, metrics = jax.lax.map(grad, parts)
        weights = metrics.count / jnp.sum(metrics.count)
        grads = jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), mean_grads)
        return functions.apply_gradients(state, grads, jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), metrics))

experiment = load_experiment("mnist_pca")
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The steps of a file, by name."""
    (sam,) = re.findall(r"```python\n(@dataclasses.*?class SAM.*?)```", DOCUMENT.read_text(), re.S)
    path = tmp_path_factory.mktemp("steps") / "my_steps.py"
    path.write_text(HEAD + sam + ACCUMULATION)
    return {cls.__name__: cls for cls in load_experiment_file(str(path)).user_classes}


@pytest.fixture(scope="module")
def experiment(image_experiment):
    return image_experiment(
        data=ImageDataset(name="mnist_sample"),
        model=MLPAutoencoder(latent_dim=3, encoder_widths=(8,), decoder_widths=(8,)),
        optimizer=SGD(learning_rate=0.1),
        batch_size=32,
        steps=4,
        evaluate_every=2,
    )


def batch_of(rows, spec, valid=None):
    inputs = np.random.default_rng(0).integers(0, 256, (rows, spec.num_values), np.uint8)
    return {"inputs": inputs, "mask": np.arange(rows) < (rows if valid is None else valid)}


def after(experiment, spec, batch, steps=2):
    """The parameters after some steps on the same batch, and the metrics of the last."""
    functions = StepFunctions(experiment, spec, 4)
    state, step = functions.init_state(functions.init_params()), jax.jit(functions.train_step)
    for _ in range(steps):
        state, metrics = step(state, batch)
    assert int(state.step) == steps
    return jax.device_get(state.params), jax.device_get(metrics)


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), one, other)


def test_accumulated_gradients_equal_those_of_the_batch(own, experiment, image_spec):
    experiment = dataclasses.replace(experiment, optimizer=SGD(learning_rate=0.01))
    batch = batch_of(6, image_spec, valid=5)  # the last part has a row that is no example
    full_batch, metrics = after(experiment, image_spec, batch)
    in_parts, metrics_of_parts = after(
        dataclasses.replace(experiment, train_step=own["InParts"](parts=3)), image_spec, batch
    )
    assert_close(in_parts, full_batch)
    assert_close(metrics_of_parts, metrics)


@pytest.mark.slow  # test_a_run_with_an_own_step_logs_resumes_and_loads
def test_sam_takes_the_gradient_uphill(own, experiment, image_spec):
    batch, rate = jax.tree.map(jnp.asarray, batch_of(6, image_spec)), 0.01
    experiment = dataclasses.replace(experiment, optimizer=SGD(learning_rate=rate))
    functions = StepFunctions(experiment, image_spec, 4)
    params = functions.init_params()
    state = functions.init_state(params)
    grad = jax.jit(lambda params: jax.grad(functions.loss(state, batch), has_aux=True)(params)[0])
    ascent = grad(params)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(ascent)))
    uphill = grad(jax.tree.map(lambda param, slope: param + 0.5 * slope / norm, params, ascent))
    expected = jax.tree.map(lambda param, slope: param - rate * slope, params, uphill)
    params = jax.device_get(expected)
    found, _ = after(dataclasses.replace(experiment, train_step=own["SAM"](rho=0.5)), image_spec, batch, steps=1)
    assert_close(found, params)
    plain, _ = after(experiment, image_spec, batch, steps=1)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True))


def test_a_run_with_an_own_step_logs_resumes_and_loads(own, experiment, tmp_path):
    pytest.importorskip("mlxtend")
    sam = dataclasses.replace(experiment, train_step=own["SAM"](rho=0.1))
    train(RunWriter(dataclasses.replace(sam, steps=2), Workdir(tmp_path / "run")))
    train(RunWriter(sam, Workdir(tmp_path / "run")))
    train(RunWriter(sam, Workdir(tmp_path / "uninterrupted")))
    run, uninterrupted = (load(tmp_path / name, "latest") for name in ("run", "uninterrupted"))
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (run.params, uninterrupted.params)))
    assert run.config.train_step == own["SAM"](rho=0.1)
    assert (tmp_path / "run" / "user_code" / "my_steps.py").exists()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["experiment"]["train_step"] == {"type": "SAM", "rho": 0.1}


@pytest.mark.slow  # test_ensemble.py has traced fields of every other kind
def test_runs_of_one_program_may_differ_in_a_traced_field_of_the_step(own, experiment, tmp_path):
    pytest.importorskip("mlxtend")
    runs = [dataclasses.replace(experiment, steps=2, train_step=own["SAM"](rho=rho)) for rho in (0.1, 2.0)]
    train(Ensemble([RunWriter(run, Workdir(tmp_path / str(i))) for i, run in enumerate(runs)]))
    train(RunWriter(runs[1], Workdir(tmp_path / "alone")))
    together, alone, other = (jax.device_get(load(tmp_path / name).params) for name in ("1", "alone", "0"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), together, alone)
    assert any(not np.allclose(a, b) for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(alone), strict=True))
