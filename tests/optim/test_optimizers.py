"""Clipping, weight decay and schedule of every optimizer; training/test_step.py tests the update rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.config.registry import components_of
from lab10.optim.optimizers import SGD, Adam, Muon, Optimizer, RMSprop
from lab10.optim.schedules import Linear

PARAMS = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
GRADIENTS = {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([4.0])}  # of norm 5


def updates(optimizer, steps=1, total=10):
    """The update of each step, under the same gradients throughout."""
    transformation = optimizer.build(total)
    state, made = transformation.init(PARAMS), []
    for _ in range(steps):
        update, state = transformation.update(GRADIENTS, state, PARAMS)
        made.append(update)
    return made


def test_gradients_of_a_large_norm_are_scaled_down_to_it():
    (clipped,) = updates(SGD(learning_rate=1.0, clip_norm=1.0))
    np.testing.assert_allclose(clipped["kernel"], [[-0.6, 0]], rtol=1e-6)
    np.testing.assert_allclose(clipped["bias"], [-0.8], rtol=1e-6)
    (left,) = updates(SGD(learning_rate=1.0, clip_norm=6.0))
    np.testing.assert_allclose(left["bias"], [-4.0])


def test_weight_decay_is_decoupled_and_excludes_biases():
    for optimizer_type in components_of(Optimizer).values():
        (plain,), (decayed,) = (
            updates(optimizer_type(learning_rate=0.1)),
            updates(optimizer_type(learning_rate=0.1, weight_decay=0.5)),
        )
        np.testing.assert_allclose(decayed["kernel"], plain["kernel"] - 0.1 * 0.5 * PARAMS["kernel"], rtol=1e-5)
        np.testing.assert_array_equal(decayed["bias"], plain["bias"])


def test_the_schedule_scales_each_step():
    made = updates(SGD(learning_rate=2.0, schedule=Linear()), steps=10)
    np.testing.assert_allclose(
        [update["bias"][0] for update in made], [-8.0 * (1 - step / 10) for step in range(10)], rtol=1e-5
    )


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_accumulates_gradients(nesterov):
    made = [
        update["bias"][0].item() for update in updates(SGD(learning_rate=1.0, momentum=0.5, nesterov=nesterov), steps=3)
    ]
    velocity = np.array([4.0, 6.0, 7.0])  # v ← 0.5 v + g
    np.testing.assert_allclose(made, -(0.5 * velocity + 4.0 if nesterov else velocity), rtol=1e-6)


def test_the_constants_are_those_of_keras():
    assert (RMSprop().decay, RMSprop().epsilon) == (0.9, 1e-7)
    assert (Adam().b1, Adam().b2, Adam().epsilon) == (0.9, 0.999, 1e-7)


def test_updates_of_zero_gradients_are_zero():
    for optimizer_type in components_of(Optimizer).values():
        transformation = optimizer_type().build(5)
        update, _ = transformation.update(jax.tree.map(jnp.zeros_like, PARAMS), transformation.init(PARAMS), PARAMS)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(update))


@pytest.mark.parametrize("field", ["learning_rate", "clip_norm", "weight_decay"])
def test_values_below_zero_are_refused(field):
    with pytest.raises(UserError, match="--optimizer." + field.replace("_", "-")):
        Adam(**{field: -0.1})


@pytest.mark.parametrize(
    "shape", [(6, 40), *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((40, 6), (16, 16)))]
)
def test_muon_makes_the_singular_values_of_an_update_alike_and_as_large_as_adams(shape):
    gradients = {"kernel": jax.random.normal(jax.random.key(0), shape), "bias": jnp.array([3.0, -1.0])}
    params = jax.tree.map(jnp.zeros_like, gradients)
    made = {}
    for optimizer in (Muon(learning_rate=0.5), Adam(learning_rate=0.5)):
        transformation = optimizer.build(10)
        made[type(optimizer)], _ = transformation.update(gradients, transformation.init(params), params)
    np.testing.assert_array_equal(made[Muon]["bias"], made[Adam]["bias"])
    # Five Newton-Schulz steps bring singular values near 1, not to 1.
    u, _, vt = np.linalg.svd(np.asarray(gradients["kernel"], np.float64), full_matrices=False)
    in_gradients_basis = -u.T @ np.asarray(made[Muon]["kernel"], np.float64) @ vt.T
    singular_values = np.diagonal(in_gradients_basis) / (0.5 * 0.2 * max(shape) ** 0.5)
    assert np.all((singular_values > 0.3) & (singular_values < 1.3))
    np.testing.assert_allclose(in_gradients_basis, np.diag(np.diagonal(in_gradients_basis)), atol=1e-3)


def test_the_momentum_of_muon_is_a_fraction():
    with pytest.raises(UserError, match=r"--optimizer\.momentum"):
        Muon(momentum=1.0)
