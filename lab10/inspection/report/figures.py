"""Draws the report's figures with matplotlib, for the page and as PNG files."""

import io
import warnings
from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lab10.inspection.plots import ImageRow, plot_image_rows
from lab10.inspection.report.curves import Curve
from lab10.inspection.report.latent_analysis import Projection
from lab10.inspection.report.significance import Estimate

# Okabe and Ito's palette, which color-blind readers can distinguish.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")
DOTS_PER_INCH = 200
MAX_POINTS = 4000


def png(figure: Figure) -> bytes:
    """Renders a figure as PNG, for a page and for print."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name may be in any script
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return file.getvalue()


def plot_curves(curves: dict[str, dict[str, list[Curve]]]) -> Figure:
    """Draws learning curves, one panel per metric; validation solid, training dotted.

    Args:
      curves: metric → group → curves.
    """
    names = list(dict.fromkeys(name for of_metric in curves.values() for name in of_metric))
    colors = dict(zip(names, (COLORS[i % len(COLORS)] for i in range(len(names))), strict=True))
    figure = Figure(figsize=(5.2 * len(curves), 3.4 + 0.2 * len(names)), layout="constrained")
    for axes, (metric, of_groups) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        for group, of_group in of_groups.items():
            for curve in of_group:
                _draw_curve(axes, curve, colors[group])
        values = np.concatenate([curve.mean for of_group in of_groups.values() for curve in of_group])
        if metric != "accuracy" and values.min() > 0 and values.max() / values.min() > 20:
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=metric.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
        _clear(axes)
    splits = {curve.split for of_metric in curves.values() for of_group in of_metric.values() for curve in of_group}
    handles = [Line2D([], [], color=colors[name]) for name in names]
    handles += [Line2D([], [], color="0.4", linestyle=_style(split)) for split in sorted(splits)]
    labels = [printable(name) for name in names] + sorted(splits)
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def _draw_curve(axes, curve: Curve, color: str) -> None:
    marker = "o" if curve.split == "validation" and len(curve.epochs) < 40 else None
    axes.plot(
        curve.epochs,
        curve.mean,
        color=color,
        linestyle=_style(curve.split),
        marker=marker,
        markersize=3,
        linewidth=1.0 if curve.split == "train" else 1.6,
    )
    if curve.count > 1:
        axes.fill_between(curve.epochs, curve.lowest, curve.highest, color=color, alpha=0.18, linewidth=0)


def _style(split: str) -> Literal[":", "-"]:
    return ":" if split == "train" else "-"


def plot_estimates(estimates: dict[str, dict[str, list[Estimate]]], split: str) -> Figure:
    """Draws the metrics of every run with their confidence intervals, one panel per metric and one line per run.

    Args:
      estimates: metric → group → one estimate per run.
      split: the split they were measured on.
    """
    names = list(next(iter(estimates.values())))
    lines = max(sum(len(of_group) for of_group in of_metric.values()) for of_metric in estimates.values())
    figure = Figure(figsize=(4.6 * len(estimates) + 1, 0.9 + 0.26 * lines + 0.1 * len(names)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(estimates), sharey=True))
    for axes, (metric, of_groups) in zip(panels, estimates.items(), strict=True):
        line, ticks = 0.0, []
        for i, of_group in enumerate(of_groups.values()):
            ticks.append(line + (len(of_group) - 1) / 2)
            for one in of_group:
                low, high = (one.value if end is None else end for end in (one.low, one.high))
                color = COLORS[i % len(COLORS)]
                axes.plot([low, high], [line, line], color=color, linewidth=1.4, solid_capstyle="butt")
                axes.plot([one.value], [line], "o", color=color, markersize=4)
                line += 1
            line += 0.5
        axes.set_yticks(ticks, [printable(name) for name in of_groups])
        axes.set_xlabel(f"{split} {metric.replace('_', ' ')}")
        _clear(axes)
    panels[0].set_ylim(lines + 0.5 * len(names) - 0.9, -0.6)  # the first on top, with room at both ends
    return figure


def plot_projection(projection: Projection, labels: Int[np.ndarray, " examples"], class_names: Sequence[str]) -> Figure:
    """Draws latent vectors in two dimensions, colored by class, with the name of each class at its median."""
    shown = np.linspace(0, len(labels) - 1, min(MAX_POINTS, len(labels))).astype(int)
    points, of_shown = projection.points[shown], labels[shown]
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    colors = matplotlib.colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    for label in np.unique(of_shown):
        of_class = points[of_shown == label]
        axes.scatter(of_class[:, 0], of_class[:, 1], s=6, color=colors(int(label) % colors.N), linewidths=0, alpha=0.6)
    for label in np.unique(of_shown):
        if 0 <= label < len(class_names):
            x, y = np.median(points[of_shown == label], axis=0)
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": colors(int(label) % colors.N)}
            axes.text(x, y, printable(class_names[label]), bbox=box, ha="center", va="center", fontsize=9)
    for set_label, i in ((axes.set_xlabel, 0), (axes.set_ylabel, 1)):
        set_label(f"principal component {i + 1} ({100 * projection.explained_variance_ratio[i]:.0f} % of the variance)")
    _clear(axes)
    return figure


def plot_traversals(
    images: Float[np.ndarray, "directions steps pixels"],
    deviations: Float[np.ndarray, " steps"],
    shape: tuple[int, int, int],
) -> Figure:
    """Draws images along lines through the latent space, one row per line."""
    labels = [f"{deviation:+.1f} σ" if deviation else "mean" for deviation in deviations]
    rows = [
        ImageRow(str(number), row, labels=labels if number == 1 else ())
        for number, row in enumerate(np.clip(images, 0, 1), start=1)
    ]
    return plot_image_rows(rows, shape, inches=0.78, row_gap=0.18)


def plot_filters(rows: dict[str, Float[np.ndarray, "images pixels"]], shape: tuple[int, int, int]) -> Figure:
    """Draws rows of signed images, each scaled to its largest absolute value."""
    scaled = [
        ImageRow(name, images / np.maximum(np.abs(images).max(axis=1, keepdims=True), 1e-12), signed=True)
        for name, images in rows.items()
    ]
    return plot_image_rows(scaled, shape, inches=0.78, row_gap=0.1)


def _clear(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def printable(text: str) -> str:
    """Escapes a name for matplotlib: no formulas, and non-printable characters are replaced.

    Such characters are line ends, or bytes that were not UTF-8.
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text).replace("$", r"\$")
