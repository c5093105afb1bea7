"""Figures: learning curves, and inputs with their reconstructions."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from lab10.training.json_lines import read_metrics
from lab10.training.step_diagnostics import DIAGNOSTICS

# Larger ratios of an image's sides are drawn as this one, with pixels that are not square: a figure must not exceed
# 2^16 dots.
MAX_ASPECT = 8
TRAIN_COLOR, VALIDATION_COLOR = "#7f9fc6", "#c44e2f"


def plot_history(metrics_path: Path, output: Path) -> None:
    """Plots each metric of a metrics.jsonl over the epochs, one panel each, and writes a PNG file."""
    lines = read_metrics(metrics_path)
    names = [
        name
        for name in dict.fromkeys(name for line in lines for name in line)
        if name not in ("step", "epoch", "split", *DIAGNOSTICS) and not name.endswith("_per_second")
    ]
    # A metric that always equals the loss gets no panel.
    names = [name for name in names if name == "loss" or any(line.get(name) != line.get("loss") for line in lines)]
    figure = Figure(figsize=(5.2 * max(len(names), 1), 3.6), dpi=120, layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, max(len(names), 1))), names, strict=False):
        for split, color in (("train", TRAIN_COLOR), ("validation", VALIDATION_COLOR)):
            points = [(line["epoch"], line[name]) for line in lines if line["split"] == split and name in line]
            if points:
                marker = "o" if len(points) < 40 else None
                axes.plot(
                    *zip(*points, strict=True), color=color, label=split, marker=marker, markersize=3, linewidth=1.3
                )
        values = np.array([line[name] for line in lines if name in line])
        if name == "loss" and values.min() > 0 and values.max() / values.min() > 20:
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.savefig(output)


def plot_reconstructions(
    inputs: Float[np.ndarray, "images pixels"],
    reconstructions: dict[str, Float[np.ndarray, "images pixels"]],
    shape: tuple[int, int, int],
) -> Figure:
    """Draws a row of inputs and, for each reconstruction, a row of images and a row of differences from the input.

    Reconstructions are clipped to [0, 1].
    The label of each is its squared error, summed over pixels, before clipping, as in the loss.

    Args:
      inputs: pixels in [0, 1].
      reconstructions: pixels by the name of the method.
      shape: height, width and channels of an image.
    """
    rows = [ImageRow("input", inputs)]
    for name, reconstruction in reconstructions.items():
        clipped = np.clip(reconstruction, 0, 1)
        errors = [f"{error:.2f}" for error in np.sum((reconstruction - inputs) ** 2, axis=1)]
        difference = f"{name}\n− input" if len(reconstructions) > 1 else "difference"
        rows += [ImageRow(name, clipped, labels=errors), ImageRow(difference, clipped - inputs, signed=True)]
    return plot_image_rows(rows, shape, inches=0.95, row_gap=0.22, dpi=150)


@dataclasses.dataclass(frozen=True)
class ImageRow:
    """A row of images in a figure.

    Attributes:
      name: text to the left of the row.
      images: [images, pixels]; in [0, 1], or in [-1, 1] if signed.
      signed: whether to draw zero in the middle: negative values in blue and positive values in red, or with three
        channels, each channel brighter than gray where it is positive.
      labels: text above each image, if any.
    """

    name: str
    images: np.ndarray
    signed: bool = False
    labels: Sequence[str] = ()


def plot_image_rows(
    rows: Sequence[ImageRow], shape: tuple[int, int, int], inches: float, row_gap: float, dpi: int = 100
) -> Figure:
    """Draws rows of images.

    Each row is drawn as one wide image, because separate axes for every image take several times as long.

    Args:
      rows: the rows from top to bottom.
      shape: height, width and channels of an image.
      inches: width of an image, in inches.
      row_gap: inches between rows.
      dpi: dots per inch.
    """
    height, width, _ = shape
    gap = max(1, width // 14)
    columns = max(len(row.images) for row in rows)
    # Sizes in inches, so that images and names fill the figure exactly.
    aspect = min(max(height / width, 1 / MAX_ASPECT), MAX_ASPECT)
    row_width, row_height = inches * (columns * (width + gap) - gap) / width, inches * aspect
    name_width, margin = 0.15 + 0.07 * max(len(line) for row in rows for line in row.name.split("\n")), 0.08
    total_width = name_width + row_width + margin
    total_height = len(rows) * (row_height + row_gap) + margin
    figure = Figure(figsize=(total_width, total_height), dpi=dpi)
    grid = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=name_width / total_width,
        right=1 - margin / total_width,
        bottom=margin / total_height,
        top=1 - row_gap / total_height,
        hspace=row_gap / row_height,
    )
    for axes, row in zip(grid, rows, strict=True):
        images = [image.reshape(shape) for image in row.images]
        drawn = [_as_colors(image, row.signed) if shape[-1] > 1 else image[..., 0] for image in images]
        # NaN has no color in a colormap; between images of colors the figure is transparent.
        strip = np.full((height, columns * (width + gap) - gap, *drawn[0].shape[2:]), np.nan if shape[-1] == 1 else 0.0)
        for i, image in enumerate(drawn):
            left = i * (width + gap)
            strip[:, left : left + width] = image
            frame = Rectangle((left - 0.5, -0.5), width, height, fill=False, edgecolor="0.8", linewidth=0.6)
            axes.add_patch(frame).set_clip_on(False)
        colormap, lowest = ("RdBu_r", -1) if row.signed else ("gray_r", 0)
        axes.imshow(strip, cmap=colormap, vmin=lowest, vmax=1, interpolation="nearest", aspect=aspect * width / height)
        for i, label in enumerate(row.labels):
            top = (i * (width + gap) + (width - 1) / 2, -0.5)
            axes.annotate(label, top, (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=7)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(row.name, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def _as_colors(image: Float[np.ndarray, "height width channels"], signed: bool) -> Float[np.ndarray, "height width 4"]:
    """Returns an image of several channels as RGBA in [0, 1]: gray and alpha, RGB, RGBA, or the first three of more.

    A signed image is drawn around gray, without its alpha, which would hide differences.
    """
    channels = image.shape[-1]
    colors = np.repeat(image[..., :1], 3, axis=-1) if channels == 2 else image[..., :3]
    opaque = signed or channels not in (2, 4)
    alpha = np.ones_like(image[..., :1]) if opaque else image[..., -1:]
    return np.clip(np.concatenate([0.5 + colors / 2 if signed else colors, alpha], axis=-1), 0, 1)
