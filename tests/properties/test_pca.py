"""Exact PCA: no linear autoencoder is better on the data it was fitted on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.data.images import ImageSpec
from lab10.models.autoencoder import LinearAutoencoder
from lab10.models.pca import fit_pca
from lab10.tasks.reconstruction import Reconstruction

ROWS, LATENT = 40, 3
SPEC = ImageSpec(height=3, width=4, pixel_max=255)
seeds = st.integers(0, 2**32 - 1)


def images(seed: int, rows: int = ROWS) -> np.ndarray:
    """Rows in [0, 1] in which some directions matter more than others, far from centered."""
    random = np.random.default_rng(seed)
    mixed = (
        random.normal(size=(rows, SPEC.num_values))
        * np.geomspace(1, 0.05, SPEC.num_values)
        @ random.normal(size=(SPEC.num_values, SPEC.num_values))
    )
    return (1 / (1 + np.exp(-mixed - random.normal()))).astype(np.float32)


@functools.cache
def autoencoder():
    """The module's loss on float32 rows, and a step of Adam on it."""
    module, optimizer = LinearAutoencoder(latent_dim=LATENT).build(SPEC), optax.adam(3e-2)

    def loss(params, x):
        outputs = module.apply({"params": params}, x)
        return jnp.mean(Reconstruction().per_example(outputs, {"targets": x}, jax.random.key(0))["loss"])

    @jax.jit
    def step(params, state, x):
        updates, state = optimizer.update(jax.grad(loss)(params, x), state)
        return optax.apply_updates(params, updates), state

    return jax.jit(loss), optimizer.init, step


def matrices(encoder, decoder):
    return {
        name: {"dense_0": {"kernel": np.asarray(kernel, np.float32)}}
        for name, kernel in (("encoder", encoder), ("decoder", decoder))
    }


def pca_loss(x, center=False):
    return fit_pca([x], LATENT, center=center).errors(x.astype(np.float64)).mean()


@given(seeds, seeds, st.sampled_from((0.1, 0.3, 1.0)), st.integers(0, 12))
def test_no_linear_autoencoder_beats_exact_pca_on_the_data_it_was_fitted_on(data_seed, weight_seed, scale, steps):
    x, random = images(data_seed), np.random.default_rng(weight_seed)
    loss, init, step = autoencoder()
    params = matrices(
        scale * random.normal(size=(SPEC.num_values, LATENT)), scale * random.normal(size=(LATENT, SPEC.num_values))
    )
    state = init(params)
    for _ in range(steps):
        params, state = step(params, state, x)
    assert float(loss(params, x)) >= pca_loss(x) * (1 - 1e-5)


@given(seeds, st.integers(1, 12))
def test_the_best_linear_autoencoder_is_exact_pca(data_seed, steps):
    x = images(data_seed)
    loss, init, step = autoencoder()
    components = fit_pca([x], LATENT, center=False).components
    params = matrices(components.T, components)
    np.testing.assert_allclose(float(loss(params, x)), pca_loss(x), rtol=1e-5)
    state = init(params)
    for _ in range(steps):  # whatever else training may find from there
        params, state = step(params, state, x)
    assert float(loss(params, x)) >= pca_loss(x) * (1 - 1e-5)


@given(seeds, seeds)
def test_least_squares_on_any_latents_does_not_beat_exact_pca(data_seed, weight_seed):
    """The best decoder of a random encoder: much closer to the optimum than random pairs of matrices."""
    x = images(data_seed).astype(np.float64)
    latents = x @ np.random.default_rng(weight_seed).normal(size=(SPEC.num_values, LATENT))
    decoder = np.linalg.lstsq(latents, x, rcond=None)[0]
    assert np.sum((latents @ decoder - x) ** 2, axis=1).mean() >= pca_loss(x) * (1 - 1e-5)


@given(seeds, st.lists(st.integers(0, ROWS), max_size=5), st.booleans())
def test_the_chunks_in_which_rows_come_do_not_matter(seed, cuts, centered):
    x = images(seed)
    whole, chunked = fit_pca([x], LATENT, center=centered), fit_pca(np.split(x, sorted(cuts)), LATENT, center=centered)
    np.testing.assert_allclose(chunked.mean, whole.mean, rtol=1e-9)
    x = x.astype(np.float64)
    np.testing.assert_allclose(chunked.errors(x).mean(), whole.errors(x).mean(), rtol=1e-7)


@given(seeds)
def test_centering_does_not_increase_the_error_on_the_fitted_data(seed):
    x = images(seed)
    assert pca_loss(x, center=True) <= pca_loss(x, center=False) * (1 + 1e-9)


@given(seeds, st.integers(1, SPEC.num_values + 3), st.booleans())
@settings(max_examples=30)
def test_components_are_orthonormal_and_ordered_by_explained_variance(seed, latent, centered):
    x = images(seed).astype(np.float64)
    pca = fit_pca([x], latent, center=centered)
    assert pca.components.shape == (min(latent, SPEC.num_values), SPEC.num_values)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(len(pca.components)), atol=1e-10)
    explained = np.mean(pca.encode(x) ** 2, axis=0)
    assert np.all(np.diff(explained) <= 1e-9 * explained[0])
    if latent >= SPEC.num_values:
        np.testing.assert_allclose(pca.reconstruct(x), x, atol=1e-9)
    np.testing.assert_allclose(
        pca.errors(x).mean() + explained.sum(), np.mean(np.sum((x - pca.mean) ** 2, axis=1)), rtol=1e-9
    )
