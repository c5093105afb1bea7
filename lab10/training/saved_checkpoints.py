"""The checkpoints that a run has saved, and which of them is the best. Reads metadata only, without Orbax."""

from collections.abc import Callable
from pathlib import Path

from lab10.cli.console import console
from lab10.config.errors import UserError
from lab10.training.checkpoint_metadata import (
    METADATA_FILE,
    CheckpointMetadata,
    UnsupportedFormat,
    read_checkpoint_metadata,
)


def print_ignored(error: UserError) -> None:
    """Prints that a damaged checkpoint is ignored."""
    console.print(f"{error}\nThe choice of the best checkpoint ignores it.")


class SavedCheckpoints:
    """The complete checkpoints in a folder.

    Args:
      directory: folder of all checkpoints. It may be missing.
      monitor: validation metric that decides which checkpoint is the best.
      higher_is_better: whether higher values of `monitor` are better.

    Attributes:
      directory: folder of all checkpoints.
    """

    def __init__(self, directory: Path, monitor: str, higher_is_better: bool):
        self.directory = directory
        self._monitor = monitor
        self._sign = 1.0 if higher_is_better else -1.0

    def _score(self, metrics: dict[str, float]) -> float:
        """The monitored metric, with its sign such that higher is better."""
        return self._sign * metrics[self._monitor]

    def steps(self) -> list[int]:
        """Lists the steps of the complete checkpoints, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(
            int(path.name)
            for path in self.directory.iterdir()
            if path.name.isascii() and path.name.isdigit() and (path / METADATA_FILE).is_file()
        )

    def best_step(self, on_damaged: Callable[[UserError], None] = print_ignored) -> int | None:
        """Returns the step of the best checkpoint, or None if there are no checkpoints.

        Of equally good checkpoints, the later one is the best. If none has validation metrics, the latest is.

        Args:
          on_damaged: called with the error of each damaged checkpoint, which is ignored.

        Raises:
          UnsupportedFormat: a checkpoint was saved by another version of lab10.
        """
        scores, steps = [], self.steps()
        for step in steps:
            try:
                metrics = self.validation(step)
                if self._monitor in metrics:
                    scores.append((self._score(metrics), step))
            except UnsupportedFormat:
                raise
            except UserError as error:
                on_damaged(error)
        return max(scores)[1] if scores else max(steps, default=None)

    def info(self, step: int) -> CheckpointMetadata:
        """Reads the metadata of a checkpoint.

        Raises:
          UserError: the metadata are damaged.
          UnsupportedFormat: the checkpoint was saved by another version of lab10.
        """
        return read_checkpoint_metadata(self.directory.absolute() / str(step))

    def validation(self, step: int) -> dict[str, float]:
        """Reads the validation metrics saved with a checkpoint; empty if there was no evaluation. Raises as `info`."""
        return self.info(step).validation

    def find(self, which: str) -> int:
        """Returns the step of the checkpoint that `which` names: `best`, `latest` or a step.

        Raises:
          UserError: there is no such checkpoint.
        """
        steps = self.steps()
        if not steps:
            raise UserError(
                f"{self.directory.parent} has no checkpoint yet. "
                "Train the run first, or for more steps: python scripts/train.py"
            )
        if which == "latest":
            return steps[-1]
        if which == "best":
            return self.best_step() or steps[-1]
        if not (which.isascii() and which.isdigit()) or int(which) not in steps:
            raise UserError(
                f"There is no checkpoint {which!r}; "
                f"expected best, latest or one of the steps {', '.join(map(str, steps))}."
            )
        return int(which)
