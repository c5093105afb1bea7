"""PCA on data whose answer is known; properties/test_pca.py has what holds for all data."""

import numpy as np
import pytest

from lab10.models.pca import fit_pca


def test_the_components_of_points_along_an_axis_are_that_axis():
    x = np.array([[3.0, 0.1, 0.0], [-2.0, 0.1, 0.0], [1.0, -0.1, 0.0], [-4.0, -0.1, 0.0]])
    pca = fit_pca([x], 2, center=False)
    np.testing.assert_allclose(np.abs(pca.components), [[1, 0, 0], [0, 1, 0]], atol=0.02)
    np.testing.assert_array_equal(pca.mean, np.zeros(3))


def test_only_centered_pca_takes_out_the_mean():
    x = np.array([[10.0, 1.0], [10.0, -1.0], [10.0, 2.0], [10.0, -2.0]])
    centered, uncentered = (fit_pca([x], 1, center=which) for which in (True, False))
    np.testing.assert_allclose(centered.mean, [10, 0])
    np.testing.assert_allclose(np.abs(centered.components), [[0, 1]], atol=1e-12)
    np.testing.assert_allclose(centered.errors(x), np.zeros(4), atol=1e-12)
    np.testing.assert_allclose(np.abs(uncentered.components), [[1, 0]], atol=1e-12)
    np.testing.assert_allclose(uncentered.errors(x), [1, 1, 4, 4])


def test_errors_agree_with_the_singular_values_that_are_left_out():
    x = np.random.default_rng(0).normal(size=(30, 6)) + 3
    pca = fit_pca([x], 2, center=False)
    np.testing.assert_allclose(pca.errors(x).sum(), np.sum(np.linalg.svd(x, compute_uv=False)[2:] ** 2), rtol=1e-9)


def test_encoding_and_reconstructing_rows():
    x = np.random.default_rng(1).normal(size=(20, 5))
    pca = fit_pca([x.astype(np.float32)], 3, center=True)
    latents = pca.encode(x)
    assert latents.shape == (20, 3)
    assert pca.components.dtype == np.float64
    np.testing.assert_allclose(pca.reconstruct(x), latents @ pca.components + pca.mean[None])
    np.testing.assert_allclose(pca.encode(pca.reconstruct(x)), latents, atol=1e-12)


def test_integers_are_not_summed_in_their_own_small_type():
    x = np.full((10, 2), 200, np.uint8)
    np.testing.assert_allclose(fit_pca([x.astype(np.float64)], 1, center=True).mean, [200, 200])


def test_no_rows_have_no_components():
    with pytest.raises(ValueError, match="no rows"):
        fit_pca([], 2, center=False)
