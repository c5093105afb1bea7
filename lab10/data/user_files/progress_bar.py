"""A progress bar on the console, if it is a terminal."""

import contextlib
from collections.abc import Callable, Iterator

import rich.progress

from lab10.cli.console import console


@contextlib.contextmanager
def progress(description: str, total: int | None, every: int = 64) -> Iterator[Callable[[int], None]]:
    """Shows a bar, and yields the function that advances it.

    Args:
      description: what is done.
      total: number of steps; None if unknown.
      every: number of steps after which the bar changes: changing it takes longer than reading a row.
    """
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.MofNCompleteColumn(),
        rich.progress.BarColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    pending = 0
    with rich.progress.Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(description, total=total)

        def advance(steps: int) -> None:
            nonlocal pending
            pending += steps
            if pending >= every:
                bar.advance(task, pending)
                pending = 0

        yield advance
        bar.advance(task, pending)
