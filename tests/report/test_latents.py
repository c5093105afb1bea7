"""Projections, latent traversals and filters."""

import numpy as np

from lab10.inspection.report.latent_analysis import decoder_filters, project, project_onto_span, traverse
from lab10.models.pca import fit_pca

RANDOM = np.random.default_rng(0)


def test_the_projection_keeps_the_plane_of_largest_variance():
    plane = RANDOM.normal(size=(200, 2)) * [5, 2]
    basis, _ = np.linalg.qr(RANDOM.normal(size=(6, 6)))
    latents = (plane @ basis[:2] + 100 + 0.01 * RANDOM.normal(size=(200, 6))).astype(np.float32)
    found = project(latents)
    distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=-1)
    np.testing.assert_allclose(distances, np.linalg.norm(plane[:, None] - plane[None], axis=-1), atol=0.1)
    assert 0.999 < sum(found.explained_variance_ratio) <= 1.0001
    assert found.explained_variance_ratio[0] > found.explained_variance_ratio[1]


def test_a_one_dimensional_latent_space_is_drawn_on_a_line():
    found = project(np.arange(5, dtype=np.float32)[:, None])
    assert np.ptp(found.points[:, 0]) == 4
    np.testing.assert_array_equal(found.points[:, 1], 0)
    assert project(np.ones((3, 4), np.float32)).explained_variance_ratio == (0, 0)


def test_traversals_pass_through_the_mean_in_standard_deviations():
    latents = (RANDOM.normal(size=(2000, 3)) * [0.5, 4, 1] + [1, 2, 3]).astype(np.float32)
    deviations = np.array([-2.0, 0.0, 2.0])
    ways = traverse(lambda z: z, latents, 2, deviations)
    assert ways.shape == (2, 3, 3)
    np.testing.assert_allclose(ways[:, 1], 2 * [latents.mean(axis=0)], rtol=1e-4)
    np.testing.assert_allclose(np.abs(ways[0, 2] - ways[0, 1]), [0, 8, 0], atol=0.4)
    assert len(traverse(lambda z: z, latents, 8, deviations)) == 3


def test_filters_come_from_the_last_layer_sorted_by_principal_component():
    components = np.eye(5)[:2]
    kernel = np.array([[0, 0, 9, 0, 0], [1, 1, 0, 0, 0], [3, 0, 0, 0, 0]], np.float32)
    params = {"encoder": {"dense_0": {"kernel": np.ones((5, 5))}}, "decoder": {"dense_0": {"kernel": np.ones((2, 3))}}}
    params["decoder"]["dense_1"] = {"kernel": kernel, "bias": np.ones(5)}
    np.testing.assert_array_equal(decoder_filters(params, components), kernel[[2, 1, 0]])
    assert decoder_filters({"decoder": {"conv": {"kernel": np.ones((3, 3, 1, 1))}}}, components) is None
    assert decoder_filters({}, components) is None


def test_filters_that_span_the_components_explain_them_fully():
    x = RANDOM.normal(size=(100, 7)) * np.arange(1, 8)
    components = fit_pca([x], 3, center=False).components
    rotated = (RANDOM.normal(size=(3, 3)) @ components).astype(np.float32)
    np.testing.assert_allclose(project_onto_span(components, rotated), components, atol=1e-5)
    drawn = project_onto_span(components, rotated[:2])
    np.testing.assert_allclose(np.sum(drawn**2), 2, atol=1e-5)  # of three components, two dimensions' worth
