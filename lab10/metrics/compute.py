"""Computes metrics of a split, checks their values, and reports those that are undefined."""

import math
import traceback
import warnings
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from lab10.cli.console import console
from lab10.config.errors import UserError
from lab10.metrics.split_metric import Columns, SplitMetric
from lab10.parallel.multihost import is_lead_process

# JSON has no NaN, so None stands for an undefined value. A dict has a value for each class, by its name.
Value = float | None | dict[str, float | None] | list[list[int | float | None]]


def compute_metrics(metrics: Sequence[SplitMetric], columns: Columns, class_names: tuple[str, ...]) -> dict[str, Value]:
    """Computes metrics, as JSON types by name. Prints what is undefined, and the warnings of a metric.

    Raises:
      UserError: a metric needs a column that the evaluation lacks, or it fails.
    """
    require_columns(metrics, columns.keys())
    return {metric.name: _compute(metric, columns, class_names) for metric in metrics}


def require_columns(metrics: Sequence[SplitMetric], available: Collection[str]) -> None:
    """Checks that an evaluation with these columns suffices for metrics.

    Raises:
      UserError: a metric needs a column that the evaluation lacks.
    """
    for metric in metrics:
        missing = [column for column in metric.required_columns if column not in available]
        if missing:
            raise UserError(
                f"The metric {metric.name} needs the column {missing[0]!r}, "
                f"and an evaluation of this run has only {', '.join(sorted(available))}."
            )


def scalars_of(
    metrics: Sequence[SplitMetric], values: Mapping[str, Value], class_names: Sequence[str]
) -> dict[str, float]:
    """Returns the defined numbers as a line of metrics has them: a value for each class by its own name, no tables."""
    scalars: dict[str, float] = {}
    for metric in metrics:
        value = values[metric.name]
        if isinstance(value, dict):
            by_name = zip(metric.value_names(class_names), value.values(), strict=True)
            scalars |= {name: number for name, number in by_name if number is not None}
        elif isinstance(value, float):
            scalars[metric.name] = value
    return scalars


def _compute(metric: SplitMetric, columns: Columns, class_names: tuple[str, ...]) -> Value:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values = np.asarray(metric.compute(_read_only(columns), class_names))
            if values.dtype == object:
                raise TypeError(f"it returned {values.tolist()!r:.80}; expected numbers")
            values = values if np.issubdtype(values.dtype, np.integer) else values.astype(np.float64)
    except UserError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}: " if frame.filename != __file__ else ""
        raise UserError(f"The metric {metric.name} failed: {where}{type(error).__name__}: {error}") from error
    _check_shape(metric, values.shape, len(class_names))
    _report(metric.name, values, [str(warning.message) for warning in caught], class_names)
    cells = values.tolist()
    if values.ndim == 0:
        return _number(float(cells))
    if values.ndim == 1:
        return {name: _number(float(cell)) for name, cell in zip(class_names, cells, strict=True)}
    return [[_number(cell) for cell in row] for row in cells]


def _read_only(columns: Columns) -> Columns:
    """Views that a metric cannot change: other metrics and the file of the examples read the same arrays."""
    views = {name: column.view() for name, column in columns.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def _check_shape(metric: SplitMetric, shape: tuple[int, ...], num_classes: int) -> None:
    expected = (num_classes,) if metric.per_class else ()
    is_table = len(shape) == 2 and not metric.per_class and metric.higher_is_better is None
    if shape != expected and not is_table:
        raise UserError(
            f"The metric {metric.name} returned the shape {shape}; "
            f"expected {expected}, {'a value for each class' if metric.per_class else 'one number'}."
        )


def _number(value: int | float) -> int | float | None:
    return value if math.isfinite(value) else None


def _report(name: str, values: np.ndarray, warning_messages: Sequence[str], class_names: Sequence[str]) -> None:
    if not is_lead_process():
        return
    reason = f": {'; '.join(dict.fromkeys(warning_messages))}" if warning_messages else "."
    undefined = np.flatnonzero(~np.isfinite(np.atleast_1d(values)).all(axis=tuple(range(1, values.ndim))))
    if len(undefined) and values.ndim == 1:
        classes = ", ".join(class_names[i] for i in undefined[:10])
        console.print(f"{name} is undefined for {classes}{' …' * (len(undefined) > 10)}{reason}")
    elif len(undefined):
        console.print(f"{name} is undefined on this split{reason}")
    elif warning_messages:
        console.print(f"{name}{reason}")
