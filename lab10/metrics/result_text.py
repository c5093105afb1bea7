"""The result of an evaluation as text for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab10.cli.script import format_metrics
from lab10.metrics.split_metric import RESERVED

# Maximal number of classes shown of a metric per class; of more, those with the lowest values are shown.
SHOWN_CLASSES = 20


def result_text(result: Mapping[str, Any]) -> str:
    """Formats the result of `Run.evaluate`: a line of numbers, then metrics per class, then tables."""
    metrics = {name: value for name, value in result.items() if name not in RESERVED}
    scalars = {name: value for name, value in metrics.items() if isinstance(value, float)}
    lines = [f"{result['split']}, {result['examples']} examples, step {result['step']}: {format_metrics(scalars)}"]
    lines += [f"{name}: undefined" for name, value in metrics.items() if value is None]
    for name, value in metrics.items():
        if isinstance(value, dict):
            lines.append(_per_class_text(name, value))
        elif isinstance(value, list):
            lines.append(_table_text(name, value, result.get("class_names", [])))
    return "\n".join(lines)


def _per_class_text(name: str, values: Mapping[str, float | None]) -> str:
    shown = {key: "undefined" if value is None else f"{value:.4f}" for key, value in values.items()}
    if len(values) > SHOWN_CLASSES:
        defined = {key: value for key, value in values.items() if value is not None}
        lowest = sorted(defined, key=defined.__getitem__)[:SHOWN_CLASSES]
        name, shown = f"{name}, lowest {len(lowest)} of {len(values)} classes", {key: shown[key] for key in lowest}
    return f"{name}: " + ", ".join(f"{key} {value}" for key, value in shown.items())


def _table_text(name: str, rows: Sequence[Sequence[int | float | None]], class_names: Sequence[str]) -> str:
    """Formats a table; if it has a row and a column for each class, with their names."""
    cells = [["undefined" if cell is None else f"{cell:.6g}" for cell in row] for row in rows]
    if len(rows) == len(class_names) and all(len(row) == len(class_names) for row in rows):
        cells = [["", *class_names], *([key, *row] for key, row in zip(class_names, cells, strict=True))]
        name = f"{name}, rows: class, columns: predicted class"
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([name, *(f"  {line}" for line in lines)])
