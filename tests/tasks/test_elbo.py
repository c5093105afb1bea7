"""The negative ELBO against its integrals, computed by quadrature."""

import jax
import jax.numpy as jnp
import numpy as np

from lab10.models.vae import Posterior, VAEOutputs
from lab10.tasks.elbo import NegativeELBO, bernoulli_log_prob, kl_divergence

KEY = jax.random.key(0)


def normal(z, mean, deviation):
    return np.exp(-(((z - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))


def test_the_kl_divergence_equals_its_integral():
    means, log_variances = np.array([[0.5], [-2.0], [0.0]]), np.array([[0.3], [-1.5], [0.0]])
    z = np.linspace(-15, 15, 20001)
    for mean, log_variance, found in zip(
        means, log_variances, kl_divergence(Posterior(jnp.asarray(means), jnp.asarray(log_variances))), strict=True
    ):
        q = normal(z, mean, np.exp(log_variance / 2))
        expected = np.trapezoid(np.where(q > 1e-300, q * np.log(np.maximum(q, 1e-300) / normal(z, 0, 1)), 0), z)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_dimensions_add_up():
    posterior = Posterior(jnp.array([[0.5, -2.0]]), jnp.array([[0.3, -1.5]]))
    apart = [kl_divergence(Posterior(*(part[:, i : i + 1] for part in posterior))) for i in range(2)]
    np.testing.assert_allclose(kl_divergence(posterior), apart[0] + apart[1], rtol=1e-6)


def test_the_likelihood_is_the_product_of_the_pixels_probabilities():
    probabilities, pixels = np.array([[0.9, 0.2, 0.5]]), np.array([[1.0, 0.0, 1.0]])
    logits = jnp.asarray(np.log(probabilities / (1 - probabilities)))
    np.testing.assert_allclose(bernoulli_log_prob(logits, jnp.asarray(pixels)), np.log([0.9 * 0.8 * 0.5]), rtol=1e-5)
    assert np.isfinite(bernoulli_log_prob(jnp.array([[1e4]]), jnp.array([[0.0]]))).all()


def test_the_terms_are_metrics_and_their_sum_is_the_loss():
    task = NegativeELBO()
    posterior = Posterior(jnp.array([[0.5], [0.0]]), jnp.array([[0.3], [0.0]]))
    outputs, targets = VAEOutputs(jnp.array([[2.0, -1.0], [0.0, 0.0]]), posterior), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    values = task.per_example(outputs, {"targets": targets}, KEY)
    assert list(values) == list(task.metrics)
    np.testing.assert_allclose(values["loss"], values["reconstruction_loss"] + values["kl_divergence"], rtol=1e-6)
    np.testing.assert_allclose(values["reconstruction_loss"][1], 2 * np.log(2), rtol=1e-6)
    assert values["kl_divergence"][1] == 0
    errors = task.extra_columns(outputs, {"targets": targets}, KEY)["reconstruction_error"]
    np.testing.assert_allclose(errors[1], 0.5, rtol=1e-6)
