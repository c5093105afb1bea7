"""Figures: learning curves, and reconstructions beside their inputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lab10.json_lines import read_metrics

TRAIN_COLOUR, VALIDATION_COLOUR = "#7f9fc6", "#c44e2f"


def plot_history(metrics_path: Path, output: Path) -> None:
    """Draws every metric of a metrics.jsonl over the epochs, one panel a metric, and writes a PNG."""
    lines = read_metrics(metrics_path)
    names = [
        name
        for name in dict.fromkeys(name for line in lines for name in line)
        if name not in ("step", "epoch", "split")
    ]
    # A metric that is the loss under another name needs no panel of its own.
    names = [name for name in names if name == "loss" or any(line.get(name) != line.get("loss") for line in lines)]
    figure = Figure(figsize=(5.2 * max(len(names), 1), 3.6), dpi=120, layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, max(len(names), 1))), names, strict=False):
        for split, colour in (("train", TRAIN_COLOUR), ("validation", VALIDATION_COLOUR)):
            points = [(line["epoch"], line[name]) for line in lines if line["split"] == split and name in line]
            if points:
                marker = "o" if len(points) < 40 else None
                axes.plot(
                    *zip(*points, strict=True), color=colour, label=split, marker=marker, markersize=3, linewidth=1.3
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
    inputs: Float[np.ndarray, "pictures pixels"],
    reconstructions: dict[str, Float[np.ndarray, "pictures pixels"]],
    size: tuple[int, int],
) -> Figure:
    """A row of inputs; for each reconstruction a row, clipped to [0, 1], and a row of its difference from the input.

    Each reconstruction bears its squared error, summed over pixels (before clipping, as the loss has it).

    Args:
      inputs: pixels in [0, 1].
      reconstructions: by the name of what made them.
      size: height and width of a picture.
    """
    rows, names, titles = [inputs], ["input"], []
    for name, reconstruction in reconstructions.items():
        shown = np.clip(reconstruction, 0, 1)
        rows += [shown, shown - inputs]
        names += [name, f"{name}\n− input" if len(reconstructions) > 1 else "difference"]
        titles.append([f"{error:.2f}" for error in np.sum((reconstruction - inputs) ** 2, axis=1)])

    (height, width), count = size, len(inputs)
    gap = max(1, width // 14)
    scale = 0.95 / width  # inches a pixel
    figure = Figure(
        figsize=(scale * count * (width + gap) + label_margin(names), len(rows) * (scale * height + 0.22) + 0.1),
        dpi=150,
        layout="constrained",
    )
    for place, (axes, name, pictures) in enumerate(
        zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], names, rows, strict=True)
    ):
        strip = image_strip(pictures, size, gap, count)
        signed = place > 0 and place % 2 == 0
        axes.imshow(
            strip, cmap="RdBu_r" if signed else "gray_r", vmin=-1 if signed else 0, vmax=1, interpolation="nearest"
        )
        if place % 2:
            label_images(axes, titles[place // 2], width, gap)
        axes.set(xticks=[], yticks=[], anchor="E")  # what room there is, the name needs
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def image_strip(
    images: Float[np.ndarray, "images pixels"], size: tuple[int, int], gap: int, columns: int
) -> Float[np.ndarray, "height width"]:
    """Images side by side as one, `gap` pixels of NaN between them: an axes for each takes a hundred times as long."""
    height, width = size
    strip = np.full((height, columns * (width + gap) - gap), np.nan)
    for start, image in zip(range(0, strip.shape[1], width + gap), images, strict=False):
        strip[:, start : start + width] = image.reshape(size)
    return strip


def label_margin(names: Sequence[str]) -> float:
    """Inches that the names of rows take on the left of a figure."""
    return 0.5 + 0.1 * max(len(line) for name in names for line in name.split("\n"))


def label_images(axes: Axes, labels: Sequence[str], width: int, gap: int) -> None:
    """Writes a label above each image of a strip."""
    for place, label in enumerate(labels):
        centre = (place * (width + gap) + (width - 1) / 2, -0.5)
        axes.annotate(label, centre, (0, 2), textcoords="offset points", ha="center", va="bottom", fontsize=7)
