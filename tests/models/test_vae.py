"""The variational autoencoder's module: what it draws, and the methods that a run class calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params

from lab10.config.errors import UserError
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.models.vae import VAE

SPEC = ImageSpec(height=3, width=4, pixel_max=255)
SMALL = VAE(latent_dim=2, encoder_widths=(5,), decoder_widths=(4, 6))
MODULE = SMALL.build(SPEC)


@pytest.fixture(scope="module")
def variables():
    return {"params": init_params(MODULE, SPEC, 0)}


@pytest.fixture(scope="module")
def pixels():
    return jax.random.uniform(jax.random.key(1), (7, 12))


def test_the_encoder_returns_means_and_log_variances(variables):
    shapes = jax.tree.map(jnp.shape, variables["params"])
    kernels = {part: [layer["kernel"] for layer in layers.values()] for part, layers in shapes.items()}
    assert kernels == {"encoder": [(12, 5), (5, 4)], "decoder": [(2, 4), (4, 6), (6, 12)]}


def test_a_sample_is_the_mean_plus_noise_times_the_deviation(variables, pixels):
    posterior = apply(MODULE, variables, pixels, method="posterior")
    draws = [apply(MODULE, variables, pixels, rngs={"sample": jax.random.key(seed)}).logits for seed in range(2)]
    assert np.all(draws[0] != draws[1])
    # Without variance nothing is left to draw.
    params = variables["params"]
    bias = params["encoder"]["dense_1"]["bias"].at[2:].set(-60.0)
    certain = {"params": params | {"encoder": params["encoder"] | {"dense_1": params["encoder"]["dense_1"]}}}
    certain["params"]["encoder"]["dense_1"] = certain["params"]["encoder"]["dense_1"] | {"bias": bias}
    outputs = apply(MODULE, certain, pixels, rngs={"sample": jax.random.key(0)})
    expected = apply(MODULE, certain, posterior.mean, method="logits")
    np.testing.assert_allclose(outputs.logits, expected, rtol=1e-4, atol=1e-5)


def test_samples_have_the_mean_and_the_deviation_of_the_posterior():
    """Found from the logits, which a decoder without hidden layers makes of them linearly."""
    module = VAE(latent_dim=2, encoder_widths=(), decoder_widths=()).build(SPEC)
    params = init_params(module, SPEC, 0)
    log_variance = np.log([3.0**2, 0.5**2])
    encoder = {"kernel": jnp.zeros((12, 4)), "bias": jnp.array([1.0, -2.0, *log_variance])}
    variables = {"params": params | {"encoder": {"dense_0": encoder}}}
    outputs = apply(module, variables, jnp.zeros((10_000, 12)), rngs={"sample": jax.random.key(0)})
    decoder = jax.tree.map(np.asarray, params["decoder"]["dense_0"])
    latents = np.linalg.lstsq(decoder["kernel"].T, (np.asarray(outputs.logits) - decoder["bias"]).T, rcond=None)[0]
    np.testing.assert_allclose(latents.mean(axis=1), [1, -2], atol=0.1)
    np.testing.assert_allclose(latents.std(axis=1), [3, 0.5], rtol=0.05)


def test_encode_gives_the_mean_and_decode_the_probabilities(variables, pixels):
    mean = apply(MODULE, variables, pixels, method="posterior").mean
    np.testing.assert_array_equal(apply(MODULE, variables, pixels, method="encode"), mean)
    logits = np.asarray(apply(MODULE, variables, mean, method="logits"), np.float64)
    np.testing.assert_allclose(apply(MODULE, variables, mean, method="decode"), 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_texts_and_latent_dim_zero_are_refused():
    with pytest.raises(UserError, match="reads images"):
        SMALL.build(TextSpec(num_ids=9, class_names=("neg", "pos")))
    with pytest.raises(UserError, match="latent-dim"):
        VAE(latent_dim=0)
