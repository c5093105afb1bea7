"""Progress of a run: a bar with loss and ETA in a terminal or a notebook, lines of metrics elsewhere."""

import collections
import datetime
import math
import time

import rich.progress
from flax import linen as nn
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lab10.cli.console import console
from lab10.cli.script import format_metrics
from lab10.optim.parameter_paths import by_path
from lab10.training.state import Params, count_parameters

# In a notebook: lines of validation metrics that remain under the bar, and seconds between two updates.
NOTEBOOK_LINES, NOTEBOOK_INTERVAL = 10, 0.3


class Progress:
    """Shows the progress of a run of `total` steps that starts or resumes at step `start`."""

    def __init__(self, total: int, start: int):
        self._total, self._start, self._began = total, start, time.monotonic()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("step"),
            rich.progress.MofNCompleteColumn(),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.fields[loss]}"),
            rich.progress.TextColumn("elapsed"),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=total, completed=start, loss="")
        self._cell = _NotebookProgress(self._bar) if console.is_jupyter else None

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()
        if self._cell is not None:
            self._cell.show()

    def advance(self, step: int) -> None:
        """Moves the bar to `step`, the number of steps taken or in flight."""
        self._bar.update(self._task, completed=step)
        if self._cell is not None:
            self._cell.show_if_due()

    def show_metrics(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Prints a line of metrics. In a terminal or a notebook, training metrics only update the bar."""
        if split == "train":
            self._bar.update(self._task, loss=f"loss {metrics['loss']:.4f}")
        text = f"step {step}/{self._total}  {split}: {format_metrics(metrics)}"
        if self._cell is not None:
            if split != "train":
                self._cell.lines.append(Text(text))
        elif split != "train" or not console.is_terminal:
            console.print(f"{text}{self._time_left(step)}")

    def _time_left(self, step: int) -> str:
        if console.is_terminal or step >= self._total or step <= self._start:
            return ""
        seconds = (time.monotonic() - self._began) / (step - self._start) * (self._total - step)
        return f"  ({datetime.timedelta(seconds=round(seconds))} left)"


class _NotebookProgress:
    """A bar and the latest lines of metrics, as one output of a notebook cell.

    Attributes:
      lines: the latest lines.
    """

    def __init__(self, bar: rich.progress.Progress):
        from lab10.cli.cell_output import CellOutput

        self._bar, self._output, self._shown = bar, CellOutput(), -math.inf
        self.lines: collections.deque[Text] = collections.deque(maxlen=NOTEBOOK_LINES)

    def show(self) -> None:
        """Shows the bar and the lines as they are now."""
        self._shown = time.monotonic()
        self._output.show(Group(*self.lines, self._bar.get_renderable()))

    def show_if_due(self) -> None:
        """Shows them unless that was done a moment ago."""
        if time.monotonic() - self._shown >= NOTEBOOK_INTERVAL:
            self.show()


def print_layers(module: nn.Module, params: Params) -> None:
    """Prints the path, shape and size of each parameter, and the total, like `Model.summary` in Keras."""
    table = Table("parameter", "shape", "count", title=type(module).__name__, title_justify="left")
    table.columns[2].justify = "right"
    for path, leaf in by_path(params).items():
        table.add_row(path, " × ".join(map(str, leaf.shape)), f"{leaf.size:,}")
    table.add_section()
    table.add_row("total", "", f"{count_parameters(params):,}")
    console.print(table)
