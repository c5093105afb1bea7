"""Sections on an autoencoder: its reconstructions, its latent space, its decoder."""

import functools
from collections.abc import Sequence

import numpy as np

from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.plots import plot_reconstructions
from lab10.inspection.report.evaluated_runs import EvaluatedRun
from lab10.inspection.report.figures import plot_filters, plot_projection, plot_traversals, png, printable
from lab10.inspection.report.latent_analysis import decoder_filters, project, project_onto_span, traverse
from lab10.inspection.report.page import Block, PageImage, Section
from lab10.models.autoencoder import LinearAutoencoder

NUM_IMAGES = 10
NUM_DIRECTIONS = 8
STANDARD_DEVIATIONS = np.arange(-3.0, 4.0)
NUM_FILTERS = 12
SIGNED_COLORS = "Red is positive, blue negative"
SIGNED_CHANNELS = "Gray is zero, and each color is brighter where it is positive"


def side_by_side_section(runs: Sequence[tuple[EvaluatedRun, AutoencoderRun]], split: str) -> Section | None:
    """Shows reconstructions of the same images by several autoencoders, if they share a dataset."""
    if len(runs) < 2 or any(
        run.restored_run.spec != runs[0][1].spec or run.content_sha256 != runs[0][0].content_sha256 for run, _ in runs
    ):
        return None
    # Indices into the runs' splits may differ; row ids of the TFDS split do not.
    common = functools.reduce(np.intersect1d, (run.per_example["example"] for run, _ in runs))[:NUM_IMAGES]
    if not len(common):
        return None
    rows = {}
    for run, autoencoder in runs:
        indices = np.searchsorted(run.per_example["example"], common).tolist()
        pixels = autoencoder.images(split, indices)
        rows[printable(run.name)] = autoencoder.reconstruct(pixels)
    spec = runs[0][1].spec
    drawn = png(plot_reconstructions(pixels, rows, spec.shape))
    caption = (
        f"The first {len(common)} images of the {split} split and each run's reconstructions. Above each: the squared "
        "error summed over pixels. Below: the difference."
    )
    return Section("Side by side", [PageImage("side-by-side", drawn, caption)])


def autoencoder_section(run: EvaluatedRun, autoencoder: AutoencoderRun, split: str) -> Section:
    """Shows reconstructions, the worst ones, the latent space, traversals of it, and the decoder's filters."""
    name, errors = run.name, run.per_example.get("reconstruction_error", run.per_example["loss"])
    shape = autoencoder.spec.shape
    linear = isinstance(autoencoder.config.model, LinearAutoencoder)
    first, _ = autoencoder.plot_reconstructions(split, list(range(min(NUM_IMAGES, len(errors)))))
    worst, of_worst = autoencoder.plot_reconstructions(split, np.argsort(-errors, kind="stable")[:NUM_IMAGES].tolist())
    pca = " Below them, the reconstructions by exact PCA of the same latent size." if linear else ""
    blocks: list[Block] = [
        PageImage(
            f"reconstructions-{name}",
            png(first),
            f"The first images of the {split} split, their reconstructions with the squared error summed over "
            f"pixels, and the difference.{pca}",
            "Reconstructions",
        ),
        PageImage(
            f"worst-{name}",
            png(worst),
            f"The images of the {split} split with the largest errors, up to "
            f"{max(of_worst['reconstruction_error']):.1f}; the mean is {errors.mean():.2f}.",
            "The worst reconstructions",
        ),
    ]
    projected = autoencoder.latents(split)
    latents, labels = projected["latents"], projected["labels"]
    projection = project(latents)
    blocks.append(
        PageImage(
            f"latents-{name}",
            png(plot_projection(projection, labels, autoencoder.spec.class_names)),
            f"Latent vectors of the {split} split, of size {latents.shape[1]}, on their first two principal "
            f"components, which explain {100 * sum(projection.explained_variance_ratio):.0f} % of the variance. Colors "
            "are classes, named at their medians. Training did not use the labels.",
            "The latent space",
        )
    )
    images = traverse(autoencoder.decode, latents, NUM_DIRECTIONS, STANDARD_DEVIATIONS)
    blocks.append(
        PageImage(
            f"traversals-{name}",
            png(plot_traversals(images, STANDARD_DEVIATIONS, shape)),
            "Decoder outputs along lines through the mean of all latent vectors. Each row follows one principal "
            "component, ordered by variance; columns are in standard deviations.",
            "Latent space traversals",
        )
    )
    return Section(f"A closer look at {name}", [*blocks, *_filters_and_components(run, autoencoder)])


def _filters_and_components(run: EvaluatedRun, autoencoder: AutoencoderRun) -> list[Block]:
    if autoencoder.pca_baseline is None:
        return []
    components = autoencoder.pca_baseline.components
    filters = decoder_filters(autoencoder.params, components)
    if filters is None:
        return []
    # The sign of a component is arbitrary; choose it so that most of its pixels are positive.
    components = components * np.where(components.sum(axis=1, keepdims=True) < 0, -1, 1)
    rows = {"exact PCA": components[:NUM_FILTERS], "decoder": filters[:NUM_FILTERS]}
    caption = (
        "Top: the first principal components of the training images, without centering. Bottom: the decoder's filters, "
        "which are the outputs for each input of its last layer, those that explain most of the components first. "
        f"{SIGNED_COLORS if autoencoder.spec.channels == 1 else SIGNED_CHANNELS}; each image has its own scale."
    )
    if isinstance(autoencoder.config.model, LinearAutoencoder):
        drawable = project_onto_span(components, filters)
        rows = {"exact PCA": components[:NUM_FILTERS], "projected on\nthe filters": drawable[:NUM_FILTERS], **rows}
        caption += (
            " A linear autoencoder spans the subspace of the components in another basis. Middle: the projection of "
            "each component onto the span of the filters, which contains "
            f"{100 * np.mean(np.sum(drawable**2, axis=1)):.1f} % of all components."
        )
    return [
        PageImage(
            f"filters-{run.name}", png(plot_filters(rows, autoencoder.spec.shape)), caption, "The decoder's filters"
        )
    ]
