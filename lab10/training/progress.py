"""Progress of a run on the console: a progress bar with loss and ETA in a terminal, lines of metrics elsewhere."""

import datetime
import time

import jax
import rich.progress
from flax import linen as nn
from rich.table import Table

from lab10.cli.console import console
from lab10.cli.script import describe
from lab10.training.state import Params, count_parameters


class Progress:
    """Shows the progress of a run of `total` steps that starts or resumes at step `start`."""

    def __init__(self, total: int, start: int):
        self._total, self._start, self._began = total, start, time.monotonic()
        self._loss = ""
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

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Moves the bar to `step`, the number of steps taken or in flight."""
        self._bar.update(self._task, completed=step)

    def line(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Prints a line of metrics. In a terminal, training metrics only update the bar."""
        if split == "train":
            self._bar.update(self._task, loss=f"loss {metrics['loss']:.4f}")
        if split != "train" or not console.is_terminal:
            console.print(
                f"step {step}/{self._total}  {split}: {describe(metrics)}{self._time_left(step)}", markup=False
            )

    def _time_left(self, step: int) -> str:
        if console.is_terminal or step >= self._total or step <= self._start:
            return ""
        seconds = (time.monotonic() - self._began) / (step - self._start) * (self._total - step)
        return f"  ({datetime.timedelta(seconds=round(seconds))} left)"


def print_layers(module: nn.Module, params: Params) -> None:
    """Prints the path, shape and size of each parameter, and the total, like `Model.summary` in Keras."""
    table = Table("parameter", "shape", "count", title=type(module).__name__, title_justify="left")
    table.columns[2].justify = "right"
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        table.add_row("/".join(str(entry.key) for entry in path), " × ".join(map(str, leaf.shape)), f"{leaf.size:,}")
    table.add_section()
    table.add_row("total", "", f"{count_parameters(params):,}")
    console.print(table)
