"""The result as images."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

COLOR = "#7f9fc6"


def draw(result: dict[str, Any], directory: Path) -> list[str]:
    """Writes ratios.png and growth.png where the result has what they show; returns their paths."""
    figures = {}
    if result.get("speed"):
        figures["ratios.png"] = plot_time_ratios(result["speed"])
    if result.get("growth"):
        figures["growth.png"] = plot_step_times(result["growth"])
    for name, figure in figures.items():
        figure.savefig(directory / name)
    return [str(directory / name) for name in figures]


def plot_time_ratios(rows: list[dict[str, Any]]) -> Figure:
    """One bar per row; training and evaluation in separate panels; error bars span the lowest to the highest pair."""
    labels = [f"{row['task']}{', ' + row['variant'] if row['variant'] else ''}\n{row['peer']}" for row in rows]
    figure = Figure(figsize=(10, 0.5 * len(rows) + 1.2), dpi=120, layout="constrained")
    for axes, what in zip(figure.subplots(1, 2, sharey=True), ("training", "evaluation"), strict=True):
        found = [row[what]["ratio"] for row in rows]
        medians = [ratio["median"] for ratio in found]
        spread = [
            [ratio["median"] - ratio["lowest"] for ratio in found],
            [ratio["highest"] - ratio["median"] for ratio in found],
        ]
        axes.barh(range(len(rows)), medians, xerr=spread, color=COLOR, height=0.6, capsize=2)
        axes.axvline(1, color="0.4", linewidth=0.8)
        axes.set(title=what, xlabel="peer's seconds / lab10's", yticks=range(len(rows)))
        axes.set_yticklabels(labels, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.25)
    axes.invert_yaxis()
    return figure


def plot_step_times(curves: list[dict[str, Any]]) -> Figure:
    """One panel per setting; both axes are logarithmic."""
    figure = Figure(figsize=(3.4 * len(curves), 3.2), dpi=120, layout="constrained")
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        axes.loglog(curve["values"], curve["microseconds"], color=COLOR, marker="o", markersize=4)
        axes.set_xticks(curve["values"], [f"{value:,}" for value in curve["values"]])
        axes.set_ylim(min(curve["microseconds"]) / 2, max(curve["microseconds"]) * 2)  # what is flat shall look flat
        for value, microseconds in zip(curve["values"], curve["microseconds"], strict=True):
            axes.annotate(
                f"{microseconds:,.0f}",
                (value, microseconds),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.margins(x=0.12)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(title=curve["task"], xlabel=curve["setting"].replace("_", " "), ylabel="µs a step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure
