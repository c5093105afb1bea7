"""PCA on data whose answer is known; properties/test_pca.py has what holds for all data."""

import time

import numpy as np
import pytest

from lab10.models import pca as pca_module
from lab10.models.pca import TooExpensive, fit_pca


def test_chunks_that_can_be_iterated_only_once_are_refused():
    with pytest.raises(TypeError, match="several times"):
        fit_pca(iter([np.ones((3, 4))]), 2, center=False)


def test_the_components_of_points_along_an_axis_are_that_axis():
    x = np.array([[3.0, 0.1, 0.0], [-2.0, 0.1, 0.0], [1.0, -0.1, 0.0], [-4.0, -0.1, 0.0]])
    pca = fit_pca([x], 2, center=False)
    np.testing.assert_allclose(np.abs(pca.components), [[1, 0, 0], [0, 1, 0]], atol=0.02)
    np.testing.assert_array_equal(pca.mean, np.zeros(3))


def test_only_centered_pca_subtracts_the_mean():
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


def test_zero_rows_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        fit_pca([], 2, center=False)


@pytest.fixture
def iterated(monkeypatch):
    """Makes matrices of a few features use the method for many features and rows."""
    monkeypatch.setattr(pca_module, "MAX_MOMENTS_FEATURES", 8)
    monkeypatch.setattr(pca_module, "MAX_ROWS_BYTES", 0)


SPECTRA = {
    "falling slowly": np.arange(1, 201) ** -0.5,
    "falling fast": 2.0 ** -np.arange(200) * 1e6 + 1e-3,
    "flat": np.ones(200),
}


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_with_many_features_the_error_is_within_1e_4_of_the_least(iterated, monkeypatch, spectrum, center):
    x = np.random.default_rng(0).normal(size=(150, 200)) * SPECTRA[spectrum] + 3
    chunks = np.array_split(x, 4)
    found = fit_pca(chunks, 10, center=center)
    monkeypatch.setattr(pca_module, "MAX_MOMENTS_FEATURES", 200)
    least = fit_pca(chunks, 10, center=center).errors(x).mean()
    assert least * (1 - 1e-9) <= found.errors(x).mean() <= least * (1 + 1e-4)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(found.mean, x.mean(axis=0) if center else np.zeros(200), rtol=1e-9)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_few_rows_of_many_features_are_fitted_exactly(monkeypatch, spectrum, center):
    x = np.random.default_rng(0).normal(size=(50, 200)) * SPECTRA[spectrum] + 3
    least = fit_pca([x], 10, center=center)
    monkeypatch.setattr(pca_module, "MAX_MOMENTS_FEATURES", 60)
    monkeypatch.setattr(pca_module, "_subspace_iteration", None)
    found = fit_pca(np.array_split(x, 4), 10, center=center)
    np.testing.assert_allclose(found.errors(x).mean(), least.errors(x).mean(), rtol=1e-9)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(10), atol=1e-12)


def test_components_without_variance_are_orthonormal_too(monkeypatch):
    monkeypatch.setattr(pca_module, "MAX_MOMENTS_FEATURES", 60)
    x = np.random.default_rng(0).normal(size=(30, 3)) @ np.random.default_rng(1).normal(size=(3, 200))
    found = fit_pca([x], 10, center=False)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(10), atol=1e-12)
    np.testing.assert_allclose(found.errors(x), np.zeros(30), atol=1e-18)


@pytest.mark.parametrize("rows", [1, 4, 12])
def test_as_many_components_as_rows_give_no_error(iterated, rows):
    x = np.random.default_rng(0).normal(size=(rows, 100))
    found = fit_pca([x], 12, center=False)
    assert found.components.shape == (12, 100)
    np.testing.assert_allclose(found.errors(x), np.zeros(rows), atol=1e-18)


def test_black_images_have_an_error_of_zero(iterated):
    assert not fit_pca([np.zeros((5, 100))], 3, center=False).errors(np.zeros((5, 100))).any()


def test_iterating_over_many_rows_finds_the_exact_fit(monkeypatch):
    monkeypatch.setattr(pca_module, "MAX_MOMENTS_FEATURES", 60)
    x = np.random.default_rng(0).normal(size=(150, 100))
    np.testing.assert_allclose(fit_pca([x[:50], x[50:]], 100, center=False).errors(x), np.zeros(150), atol=1e-18)


@pytest.mark.slow  # measures time
def test_images_of_128_by_128_are_fitted_in_seconds(monkeypatch):
    """The matrix of second moments would have 2 GiB, and its decomposition take hours."""
    decompose = np.linalg.eigh

    def eigh(matrix):
        assert len(matrix) <= 2048, "a decomposition of hours"
        return decompose(matrix)

    monkeypatch.setattr(np.linalg, "eigh", eigh)
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 30)) @ random.normal(size=(30, 128 * 128)) + 0.1 * random.normal(size=(40, 128 * 128))
    began = time.process_time()  # other work on the machine does not count
    error = fit_pca([x[:25], x[25:]], 8, center=False).errors(x).sum()
    assert time.process_time() - began < 20
    np.testing.assert_allclose(error, np.sum(np.linalg.svd(x @ x.T, compute_uv=False)[8:]), rtol=1e-4)


class Endless:
    """Chunks without an end, or almost: after ten seconds a test had better fail than hang."""

    def __init__(self, features):
        self.features = features

    def __iter__(self):
        random, deadline = np.random.default_rng(0), time.monotonic() + 10
        while time.monotonic() < deadline:
            yield random.normal(size=(10, self.features))


@pytest.mark.parametrize("features", [20, 3000])
def test_the_time_limit_holds_for_any_number_of_rows(features):
    began = time.monotonic()
    with pytest.raises(TooExpensive, match="longer than 0 s"):
        fit_pca(Endless(features), 3, center=False, max_seconds=0.3)
    assert time.monotonic() - began < 5


def test_the_fit_stops_once_the_time_limit_cannot_be_met(iterated):
    class Slow(list):
        def __iter__(self):
            time.sleep(0.2)
            return super().__iter__()

    with pytest.raises(TooExpensive, match="at least 3 are needed"):
        fit_pca(Slow([np.ones((2, 100))]), 3, center=False, max_seconds=0.5)


def test_components_that_do_not_fit_into_memory_are_not_tried(iterated):
    with pytest.raises(TooExpensive, match="GiB of memory"):
        fit_pca([np.broadcast_to(np.float32(0), (1, 2**24))], 64, center=False)
