"""A closer look at an autoencoder: what it makes of images, its latent space, its decoder."""

import functools
from collections.abc import Sequence

import numpy as np

from lab10.inspection import AutoencoderRun
from lab10.inspection.plots import plot_reconstructions
from lab10.models.autoencoder import LinearAutoencoder
from lab10.report.evaluated_runs import EvaluatedRun
from lab10.report.figures import plot_filters, plot_projection, plot_traversals, png, printable
from lab10.report.latents import decoder_filters, project, traverse, within_span
from lab10.report.page import Block, Image, Section

SHOWN = 10
DIRECTIONS = 8
DEVIATIONS = np.arange(-3.0, 4.0)
FILTERS = 12


def side_by_side_section(runs: Sequence[tuple[EvaluatedRun, AutoencoderRun]], split: str) -> Section | None:
    """The same images through several autoencoders, where they have the same images."""
    if len(runs) < 2 or any(run.run.spec != runs[0][1].spec or run.content != runs[0][0].content for run, _ in runs):
        return None
    # Positions may differ between the runs' splits; examples of the TFDS split do not.
    common = functools.reduce(np.intersect1d, (run.per_example["example"] for run, _ in runs))[:SHOWN]
    if not len(common):
        return None
    rows = {}
    for run, autoencoder in runs:
        indices = np.searchsorted(run.per_example["example"], common).tolist()
        pixels = autoencoder.images(split, indices)
        rows[printable(run.name)] = autoencoder.reconstruct(pixels)
    spec = runs[0][1].spec
    drawn = png(plot_reconstructions(pixels, rows, (spec.height, spec.width)))
    caption = (
        f"The first {len(common)} images of the {split} split, and what each run makes of them: above each "
        "reconstruction its squared error summed over the pixels, beneath it the difference."
    )
    return Section("Side by side", [Image("side-by-side", drawn, caption)])


def autoencoder_section(run: EvaluatedRun, autoencoder: AutoencoderRun, split: str) -> Section:
    """Reconstructions, the worst of them, the latent space, ways through it, the decoder's filters."""
    name, errors = run.name, run.per_example["reconstruction_error"]
    size = (autoencoder.spec.height, autoencoder.spec.width)
    linear = isinstance(autoencoder.config.model, LinearAutoencoder)
    first, _ = autoencoder.compare(split, list(range(min(SHOWN, len(errors)))))
    worst, of_worst = autoencoder.compare(split, np.argsort(-errors, kind="stable")[:SHOWN].tolist())
    beside = " Beneath it what exact PCA with as many numbers makes of it." if linear else ""
    blocks: list[Block] = [
        Image(
            f"reconstructions-{name}",
            png(first),
            f"The first images of the {split} split, their reconstructions with the squared error summed over the "
            f"pixels, and the difference.{beside}",
            "Reconstructions",
        ),
        Image(
            f"worst-{name}",
            png(worst),
            f"The images of the {split} split with the greatest errors, "
            f"{max(of_worst['reconstruction_error']):.1f} the worst of all; the mean is {errors.mean():.2f}.",
            "The worst reconstructions",
        ),
    ]
    of_split = autoencoder.latents(split)
    latents, labels = of_split["latents"], of_split["labels"]
    projection = project(latents)
    blocks.append(
        Image(
            f"latents-{name}",
            png(plot_projection(projection, labels, autoencoder.spec.class_names)),
            f"Latent vectors of the {split} split, {latents.shape[1]} numbers each, along their two principal "
            f"components, which hold {100 * sum(projection.share):.0f} % of their variance; a colour a class, its "
            "name at the median. The labels were not used in training.",
            "The latent space",
        )
    )
    images = traverse(autoencoder.decode, latents, DIRECTIONS, DEVIATIONS)
    blocks.append(
        Image(
            f"traversals-{name}",
            png(plot_traversals(images, DEVIATIONS, size)),
            "What the decoder draws along straight ways through the mean of all latent vectors: each row follows one "
            "principal component of them, that of the greatest variance first, in standard deviations.",
            "Ways through the latent space",
        )
    )
    return Section(f"A closer look at {name}", [*blocks, *_filters(run, autoencoder, size)])


def _filters(run: EvaluatedRun, autoencoder: AutoencoderRun, size: tuple[int, int]) -> list[Block]:
    components = autoencoder.pca.components
    filters = decoder_filters(autoencoder.params, components)
    if filters is None:
        return []
    # A component's sign means nothing: let most of them add ink.
    components = components * np.where(components.sum(axis=1, keepdims=True) < 0, -1, 1)
    rows = {"exact PCA": components[:FILTERS], "decoder": filters[:FILTERS]}
    caption = (
        "Above, the first exact principal components of the training images, without centring; at the bottom the "
        "decoder's filters, what each input of its last layer draws, those first that draw most of the components. "
        "Red adds ink, blue takes it away; each image is scaled for itself."
    )
    if isinstance(autoencoder.config.model, LinearAutoencoder):
        drawable = within_span(components, filters)
        rows = {"exact PCA": components[:FILTERS], "as the\ndecoder can": drawable[:FILTERS], **rows}
        caption += (
            " A linear autoencoder finds the components' subspace in a basis of its own: in the middle is what of each "
            "component its filters can draw together, which is "
            f"{100 * np.mean(np.sum(drawable**2, axis=1)):.1f} % of all of them."
        )
    return [Image(f"filters-{run.name}", png(plot_filters(rows, size)), caption, "The decoder's filters")]
