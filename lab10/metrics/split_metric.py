"""Base class of the metrics that are computed from all examples of a split together, such as F1.

A metric that is a mean over examples, such as accuracy, belongs to a task instead: `lab10.tasks.task`.
"""

import abc
import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import numpy as np

from lab10.config.errors import UserError
from lab10.config.registry import closest, components_of, find_component
from lab10.tasks.task import Task

Columns = Mapping[str, np.ndarray]
# Keys that the result of an evaluation or a line of metrics has in addition to its metrics.
RESERVED = (
    *("split", "tfds_split", "examples", "step", "epoch", "example", "content_sha256"),
    *("read_count", "per_example", "class_names"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitMetric(abc.ABC):
    """A metric of a whole split. A new metric is a new subclass, in a file in this folder or in an experiment's file.

    Its name in results is that of the class in snake case: `BalancedAccuracy` gives `balanced_accuracy`.

    Attributes:
      higher_is_better: whether higher values are better; None if the metric cannot be monitored.
      per_class: whether the metric has a value for each class, such as `recall_neg` and `recall_pos`.
      required_columns: names of the columns that `compute` reads; a run without them is refused before it trains.
    """

    higher_is_better: ClassVar[bool | None] = None
    per_class: ClassVar[bool] = False
    required_columns: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def compute(self, columns: Columns, class_names: tuple[str, ...]) -> float | np.ndarray:
        """Computes the metric. Runs on the host after each pass over a split.

        Args:
          columns: what evaluation writes for each example: the task's metrics and predictions, [examples, …] each, in
            the order of the split. For classification `loss`, `accuracy`, `label`, `predicted`, `probability` (of the
            predicted class) and `probabilities` [examples, classes].
          class_names: names of the labels, in order.

        Returns:
          A number; [classes] if the metric is `per_class`; or a table [rows, columns], which evaluation shows, but
          training does not log. NaN if the metric is undefined on this split; it is reported, and never chosen as best.
        """

    @property
    def name(self) -> str:
        """The name of the metric: that of its class in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    def value_names(self, class_names: Sequence[str]) -> list[str]:
        """Returns the names of the metric's values in a line of metrics: `f1`, or `recall_neg` and `recall_pos`."""
        if not self.per_class:
            return [self.name]
        suffixes = [re.sub(r"[^0-9A-Za-z_]", "_", class_name) for class_name in class_names]
        if len(set(suffixes)) < len(suffixes):
            suffixes = [str(index) for index in range(len(class_names))]
        return [f"{self.name}_{suffix}" for suffix in suffixes]

    def may_have(self, value_name: str) -> bool:
        """Returns whether the metric has a value of this name that can be monitored, on a dataset with such a class."""
        if self.higher_is_better is None:
            return False
        return value_name.startswith(f"{self.name}_") if self.per_class else value_name == self.name


def find_split_metric(name: str, own: Collection[type] = ()) -> SplitMetric:
    """Returns the metric with this name, in snake case or that of its class, ignoring case.

    Raises:
      UserError: there is no such metric; the message suggests the closest name.
    """
    return find_component(SplitMetric, re.sub("[_-]", "", name), own)()


def monitored_metric(monitor: str, metrics: Sequence[SplitMetric]) -> SplitMetric | None:
    """Returns the metric of which `--monitor` names a value; None if it is one of the task's."""
    fitting = [metric for metric in metrics if metric.may_have(monitor)]
    return max(fitting, key=lambda metric: len(metric.name), default=None)


def require_distinct(metrics: Sequence[SplitMetric], task: Task) -> None:
    """Checks that the names of metrics differ from each other, from the task's, and from other keys of results.

    Raises:
      UserError: a name is taken.
    """
    for name in task.metrics:
        if name in RESERVED:
            raise UserError(
                f"The task {type(task).__name__} cannot have the metric {name!r}, because results already use it. "
                "Rename it."
            )
    taken = dict.fromkeys(RESERVED, "results already use it") | dict.fromkeys(
        task.metrics, f"the task {type(task).__name__} has a metric of this name"
    )
    for metric in metrics:
        if metric.name in taken:
            raise UserError(f"--metrics cannot contain {metric.name!r}, because {taken[metric.name]}.")
        taken[metric.name] = "it is given twice"


def require_monitor(monitor: str, metrics: Sequence[SplitMetric], task: Task) -> None:
    """Checks that `--monitor` is a metric of the task, or a value of one of `--metrics`.

    Raises:
      UserError: it is neither.
    """
    if monitor in task.metrics or monitored_metric(monitor, metrics) is not None:
        return
    values = [
        f"{each.name}_CLASS" if each.per_class else each.name for each in metrics if each.higher_is_better is not None
    ]
    known = [cls() for cls in components_of(SplitMetric).values()]
    missing = monitored_metric(monitor, [metric for metric in known if metric not in metrics])
    raise UserError(
        f"--monitor is {monitor!r}; expected a metric of {type(task).__name__}: {', '.join(task.metrics)}"
        + (f"; or of --metrics: {', '.join(values)}" if values else "")
        + (f". To monitor it, add --metrics {missing.name}." if missing is not None else ".")
    )


def require_monitored_class(monitor: str, metrics: Sequence[SplitMetric], class_names: Sequence[str]) -> None:
    """Checks that `--monitor` names a value that its metric has on a dataset with these classes.

    Raises:
      UserError: no class has the name that it ends in.
    """
    metric = monitored_metric(monitor, metrics)
    if metric is not None and monitor not in (names := metric.value_names(class_names)):
        raise UserError(
            f"--monitor is {monitor!r}{closest(monitor, names)} On this dataset, {metric.name} has the values "
            f"{', '.join(names[:10])}{' …' * (len(names) > 10)}."
        )
