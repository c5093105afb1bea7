"""The cross-entropy in windows against the plain one, and its estimate from a sample of the ids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.models import sampled_softmax
from lab10.models.sampled_softmax import (
    cross_entropy,
    log_uniform_log_prob,
    sample_log_uniform,
    sampled_cross_entropy,
)

NUM_IDS = 30


def inputs(time, batch, features=5):
    keys = jax.random.split(jax.random.key(0), 4)
    states = jax.random.normal(keys[0], (time, batch, features))
    targets = jax.random.randint(keys[1], (time, batch), 0, NUM_IDS)
    return states, targets, jax.random.normal(keys[2], (NUM_IDS, features)), jax.random.normal(keys[3], (NUM_IDS,))


def plain(states, targets, table, bias):
    logits = states @ table.T + bias[None, None]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]


@pytest.mark.parametrize("time", [0, pytest.param(1, marks=pytest.mark.slow), 5])
def test_windows_give_the_values_and_gradients_of_the_plain_function(monkeypatch, time):
    monkeypatch.setattr(sampled_softmax, "WINDOW_ROWS", 6)  # windows of two steps, and a rest of one
    states, targets, table, bias = inputs(time, 3)

    def value_and_gradients(function):
        weights = jnp.arange(time * 3.0).reshape(time, 3)
        total = lambda states, table, bias: jnp.sum(weights * function(states, targets, table, bias))  # noqa: E731
        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(states, table, bias)

    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
        value_and_gradients(cross_entropy),
        value_and_gradients(plain),
    )


def test_ids_are_drawn_with_their_probabilities():
    probabilities = np.exp(log_uniform_log_prob(jnp.arange(NUM_IDS), NUM_IDS))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    drawn = np.bincount(sample_log_uniform(jax.random.key(1), 200_000, NUM_IDS), minlength=NUM_IDS)
    assert len(drawn) == NUM_IDS
    # Five standard deviations of a binomial variable.
    np.testing.assert_array_less(
        np.abs(drawn / 200_000 - probabilities), 5 * np.sqrt(probabilities * (1 - probabilities) / 200_000)
    )


def test_the_estimate_approaches_the_cross_entropy_with_more_candidates():
    arrays = inputs(4, 6)
    exact, errors = plain(*arrays), []
    estimate_from = jax.jit(sampled_cross_entropy, static_argnums=4)
    for num_candidates in (20, 20_000):
        estimates = [estimate_from(*arrays, num_candidates, jax.random.key(seed)) for seed in range(4)]
        errors.append(np.mean([np.abs(estimate - exact) for estimate in estimates]))
    assert errors[1] < 0.02 < errors[0]


def test_a_candidate_that_is_the_target_counts_once():
    """With every draw being the only other id or the target, the estimate is nearly the cross-entropy of two ids."""
    states, table, bias = jnp.ones((1, 1, 1)), jnp.array([[0.3], [-0.2]]), jnp.zeros(2)
    estimate_from = jax.jit(sampled_cross_entropy, static_argnums=4)
    for target in (0, 1):
        targets = jnp.array([[target]])
        estimate = estimate_from(states, targets, table, bias, 100_000, jax.random.key(0))
        np.testing.assert_allclose(estimate, plain(states, targets, table, bias), atol=0.01)
