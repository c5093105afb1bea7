"""Adversarial training: the perturbation is the worst of its norm to first order, and its loss is added."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lab10.config.errors import UserError
from lab10.optim.optimizers import SGD
from lab10.tasks.classification import Classification
from lab10.training.adversarial import normalize, with_adversarial_gradient
from lab10.training.step import StepFunctions

floats = st.floats(-10, 10, width=32).filter(lambda value: value == 0 or abs(value) > 1e-3)


@given(hnp.arrays(np.float32, (4, 3, 2), elements=floats))
def test_each_example_is_scaled_to_norm_one_and_zero_stays_zero(direction):
    norms = np.sqrt(np.sum(np.square(normalize(jnp.asarray(direction))), axis=(0, 2)))
    np.testing.assert_allclose(norms, np.any(direction, axis=(0, 2)), rtol=1e-5)


def test_the_gradients_are_those_of_both_losses():
    """For loss = Σ w · (x + r), the worst r of an example is radius · w / |w|, with w over its time and features."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 2)), jnp.float32)
    w = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3, 2)), jnp.float32)

    def loss(params, perturbations):
        r = 0 if perturbations is None else perturbations["r"]
        return jnp.sum(params["w"] * (x + r)), {"auxiliary": jnp.max(r)}

    class Perturbed(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            return self.perturb("r", inputs)

    adversarial = with_adversarial_gradient(loss, Perturbed(), x, radius=0.5)
    assert adversarial({"w": w}) == (jnp.sum(w * x), {"auxiliary": 0})
    gradients, aux = jax.grad(adversarial, has_aux=True)({"w": w})
    worst = 0.5 * w / jnp.sqrt(jnp.sum(w**2, axis=(0, 2), keepdims=True))
    np.testing.assert_allclose(gradients["w"], 2 * x + worst, rtol=1e-5, atol=1e-6)
    assert aux == {"auxiliary": 0}, "of the clean loss"


@pytest.fixture
def program_of(text_experiment, text_spec):
    def make(radius):
        experiment = text_experiment(task=Classification(adversarial_radius=radius), optimizer=SGD(learning_rate=1.0))
        return StepFunctions(dataclasses.replace(experiment, seed=1), text_spec, 10)

    return make


def test_an_adversarial_step_differs_and_reports_the_clean_loss(program_of, random_token_split):
    split, steps, losses = random_token_split(6), {}, {}
    batch = split.batch(np.arange(6)) | {"mask": np.ones(6, bool), "row": np.arange(6)}
    batch = {name: jnp.asarray(value) for name, value in batch.items()}
    for radius in (0.0, 1e-6, 20.0):
        program = program_of(radius)
        state = program.init_state(program.init_params())
        before = jax.device_get(state.params)
        state, metrics = jax.jit(program.train_step)(state, batch)
        step = jax.tree.map(np.subtract, before, jax.device_get(state.params))
        steps[radius] = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(step)])
        losses[radius] = float(metrics.totals["loss"])
    assert losses[0.0] == pytest.approx(losses[20.0], rel=1e-6)
    # With next to no perturbation both losses have the same gradient.
    np.testing.assert_allclose(steps[1e-6], 2 * steps[0.0], rtol=1e-3, atol=1e-6)
    assert np.linalg.norm(steps[20.0] - 2 * steps[0.0]) > 0.1 * np.linalg.norm(steps[0.0])


def test_a_negative_radius_is_refused():
    with pytest.raises(UserError, match=r"--task\.adversarial-radius is -1"):
        Classification(adversarial_radius=-1.0)
