"""What one run writes down while it trains: lines of metrics, checkpoints, the course of its validation."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from lab10.agreement import is_first
from lab10.config import Experiment
from lab10.errors import Diverged
from lab10.metrics import Metrics
from lab10.training.checkpoints import Checkpoints, Restored
from lab10.training.early_stopping import Course
from lab10.training.metrics_log import MetricsLog, NoLog
from lab10.training.progress import Progress
from lab10.training.state import TrainState
from lab10.training.step import StepReport
from lab10.workdir import Workdir

# Called with the step and the metrics of each evaluation; true ends the run there.
Watch = Callable[[int, dict[str, float]], bool]


class Record:
    """The record of one run, in its workdir.

    Attributes:
      experiment: what the run computes.
      workdir: where.
      checkpoints: of the run.
      step: of the checkpoint that was saved or restored last.
      finished: whether early stopping, or whoever watches, has ended the run before its last step.
    """

    def __init__(self, experiment: Experiment, workdir: Workdir, watch: Watch | None = None):
        self.experiment, self.workdir = experiment, workdir
        self._higher_is_better = experiment.task.metrics[experiment.select_by]
        self.checkpoints = Checkpoints(workdir.checkpoints_path, experiment.select_by, self._higher_is_better)
        self.step, self.finished = 0, False
        self._watch = watch
        self._since_line = Metrics.empty()
        self._latest: dict[str, float] = {}
        self._course = Course()

    def restore(self, abstract_trees: dict[str, Any], at_most: int | None = None) -> Restored | None:
        """Takes up the latest checkpoint, if there is one, or the latest of a step that is not beyond `at_most`."""
        restored = self.checkpoints.restore_latest(abstract_trees, at_most)
        if restored is None:
            self.step, self._since_line, self._latest, self._course = 0, Metrics.empty(), {}, Course()
        else:
            self.step, self._since_line, self._latest, self._course = (
                restored.step,
                restored.since_line,
                restored.validation,
                restored.course,
            )
        self.finished = self._course.has_ended(self.experiment.patience)
        return restored

    @contextlib.contextmanager
    def written_from(self, step: int, steps_per_epoch: int, progress: Progress) -> Iterator[None]:
        """Opens the lines of metrics, without those after a step."""
        with MetricsLog(self.workdir, step) if is_first() else NoLog() as log:
            self._log, self._steps_per_epoch, self._progress = log, steps_per_epoch, progress
            yield

    def add(self, step: int, report: StepReport) -> None:
        """Adds a step's metrics, in float64, to those of the next line.

        Raises:
          Diverged: the step gave a loss or a parameter that is not finite.
        """
        if not report.finite:
            raise self._diverged("The loss or a parameter", step)
        self._since_line = self._since_line.merge(report.metrics)

    def write_train_line(self, step: int) -> None:
        """Writes the mean of the metrics since the line before."""
        self._write(step, "train", self._since_line.means())
        self._since_line = Metrics.empty()

    def validated(self, step: int, metrics: dict[str, float]) -> None:
        """Writes the metrics of an evaluation, and notes whether it ends the run.

        Raises:
          Diverged: they are not finite.
        """
        if not all(math.isfinite(value) for value in metrics.values()):
            raise self._diverged("The validation loss", step)
        self._latest = metrics
        self._course = self._course.after(metrics[self.experiment.select_by], self._higher_is_better)
        self.finished = self._course.has_ended(self.experiment.patience)
        if self._watch is not None and self._watch(step, metrics):
            self.finished = True
        if self.finished and self._since_line.count:
            self.write_train_line(step)
        self._write(step, "validation", metrics)

    def save(self, step: int, state: TrainState, validated: bool) -> None:
        """Commits the state, after the lines of metrics that led to it."""
        self.workdir.require_still_there()
        self._log.commit()
        validation = self._latest if validated else None
        self.checkpoints.save(step, state.trees(), self._since_line, validation, self._course)
        self.step = step

    def is_done(self, total: int) -> bool:
        """Whether nothing is left to train, of a run of `total` steps."""
        return self.finished or self.step >= total

    def summary(self, parameters: int, seconds: float) -> dict[str, Any]:
        """How the run went, as `scripts/train.py --json` prints it."""
        best = self.checkpoints.best_step()
        return {
            "workdir": str(self.workdir.path),
            "step": self.step,
            "parameters": parameters,
            "train_seconds": round(seconds, 3),
            "validation": self._latest,
            "best": {"step": best} | (self.checkpoints.validation(best) if best is not None else {}),
        }

    def _write(self, step: int, split: str, metrics: dict[str, float]) -> None:
        self._progress.line(step, split, metrics)
        self._log.write(step, step / self._steps_per_epoch, split, metrics)

    def _diverged(self, what: str, step: int) -> Diverged:
        return Diverged(
            f"{what} is not finite at step {step}. {self.last_good()} "
            "Try a lower --optimizer.learning-rate, or --optimizer.clip-norm 1, in a new --workdir.",
            self.workdir.path,
        )

    def last_good(self) -> str:
        """Where a run that went wrong can be taken up, as a sentence."""
        saved = self.checkpoints.steps()
        if not saved:
            return "No checkpoint was written before it."
        return f"The checkpoint of step {saved[-1]} in {self.workdir.checkpoints_path} is the last good one."
