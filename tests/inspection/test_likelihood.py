"""The importance-weighted bound of a model of one latent number, whose likelihood is known by quadrature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.inspection.vae_run import IMAGES_AT_A_TIME, SAMPLES_AT_A_TIME, log_mean_weight
from lab10.models.vae import Posterior

WEIGHTS, BIAS = np.array([[1.5, -2.0, 0.7, 3.0]]), np.array([0.2, -0.4, 0.0, -1.0])
PIXELS = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], np.float32)
# Not the true posterior, so that the bound is loose for few samples.
MEANS, LOG_VARIANCES = np.array([[0.6], [-0.8], [0.3]]), np.array([[0.1], [-0.2], [0.4]])


def exact():
    """log p(x) = log ∫ p(x|z) p(z) dz, by the trapezoidal rule."""
    z = np.linspace(-12, 12, 20001)
    signed = (2 * PIXELS[:, None] - 1) * (z[:, None] @ WEIGHTS + BIAS)
    joint = np.exp(-np.logaddexp(0, -signed).sum(axis=-1) - z**2 / 2) / np.sqrt(2 * np.pi)
    return np.log(np.trapezoid(joint, z))


@functools.partial(jax.jit, static_argnames="scale")
def estimate(row_ids, k, scale=1.0):
    posterior = Posterior(jnp.asarray(MEANS, jnp.float32)[row_ids], jnp.asarray(LOG_VARIANCES, jnp.float32)[row_ids])
    weights, bias = jnp.asarray(WEIGHTS, jnp.float32), jnp.asarray(BIAS, jnp.float32)
    return log_mean_weight(
        lambda z: scale * (z @ weights + bias[None]), posterior, jnp.asarray(PIXELS)[row_ids], row_ids, k
    )


def log_likelihoods(row_ids, k, **options):
    return np.asarray(estimate(jnp.asarray(row_ids, jnp.int32), jnp.int32(k), **options))


def test_with_many_samples_the_bound_is_the_exact_log_likelihood():
    np.testing.assert_allclose(log_likelihoods([0, 1, 2], 200_000), exact(), atol=0.005)


@pytest.mark.parametrize(
    "k", [7, SAMPLES_AT_A_TIME + 1, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, SAMPLES_AT_A_TIME))]
)
def test_a_mean_over_any_number_of_samples_is_unbiased(k):
    """The mean weight, not its logarithm, over many images that are the same except for their row ids."""
    posterior = Posterior(jnp.full((20_000, 1), 0.6), jnp.full((20_000, 1), 0.1))
    weights, bias = jnp.asarray(WEIGHTS, jnp.float32), jnp.asarray(BIAS, jnp.float32)
    pixels, row_ids = jnp.tile(jnp.asarray(PIXELS[:1]), (20_000, 1)), jnp.arange(20_000)
    found = jax.jit(lambda k: log_mean_weight(lambda z: z @ weights + bias[None], posterior, pixels, row_ids, k))(k)
    values = np.exp(np.asarray(found, np.float64))
    standard_error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - np.exp(exact()[0])) < 4 * standard_error
    assert np.mean(found) < exact()[0], "its logarithm is a lower bound"


def test_the_bound_rises_with_the_number_of_samples():
    means = [np.mean([log_likelihoods([0, 1, 2], k)]) for k in (1, 1000, 50_000)]
    assert means[0] != means[1]
    assert abs(means[2] - exact().mean()) < abs(means[0] - exact().mean())


def test_samples_of_an_image_do_not_depend_on_other_images():
    together, apart = log_likelihoods([0, 1, 2], 60), [log_likelihoods([row], 60)[0] for row in range(3)]
    np.testing.assert_allclose(together, apart, rtol=1e-6)
    assert IMAGES_AT_A_TIME > 1


def test_likelihoods_too_small_for_a_float_stay_finite():
    found = log_likelihoods([0, 1, 2], 100, scale=1e4)
    assert np.all(np.isfinite(found))
    assert found.min() < -1000
