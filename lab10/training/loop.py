"""The loop: feeds the step, writes lines of metrics, evaluates, saves, resumes. The same for every task."""

import math
import time
from typing import Any

from lab10.compilation_cache import use_compilation_cache
from lab10.config import Experiment
from lab10.console import console
from lab10.data.dataset import OpenDataset, Split
from lab10.errors import Interrupted, RunError, UserError
from lab10.metrics import Metrics
from lab10.training.checkpoints import Checkpoints
from lab10.training.metrics_log import MetricsLog
from lab10.training.profile import Profile
from lab10.training.progress import Progress, print_layers
from lab10.training.signals import StopRequest
from lab10.training.state import Params, TrainState, count_parameters
from lab10.training.step import Program
from lab10.training.stepper import Stepper
from lab10.workdir import Workdir


def train(experiment: Experiment, workdir: Workdir) -> dict[str, Any]:
    """Trains, or goes on with, a run until its last step.

    Args:
      experiment: what to run.
      workdir: where; a run that is there already is continued from its last checkpoint.

    Returns:
      `workdir`, `step`, `parameters` (count), `train_seconds`, `validation` (metrics at the last
      step) and `best` (`step` and validation metrics of the best checkpoint).

    Raises:
      UserError: the data are missing, or the workdir holds another run.
      RunError: the loss or a parameter is no longer finite.
      Interrupted: a signal stopped the run; a checkpoint holds its state.
    """
    use_compilation_cache()
    higher_is_better = experiment.task.metrics[experiment.select_by]
    checkpoints = Checkpoints(workdir.checkpoints_path, experiment.select_by, higher_is_better)
    try:
        with workdir.locked():
            dataset = experiment.data.open()
            train_split = dataset.open_split("train")
            validation = dataset.open_split("validation") if experiment.data.validation_share > 0 else None
            total = experiment.total_steps(len(train_split))
            program = Program(experiment, dataset.spec, total)
            start_from = None
            if experiment.start_from is not None and not checkpoints.steps():
                start_from = params_of(experiment.start_from, dataset, program.abstract_params())
            workdir.write_config(experiment, dataset)
            trainer = Trainer(experiment, workdir, program, checkpoints, train_split, validation, total)
            return trainer.go(start_from)
    except OSError as error:
        raise RunError(
            f"{error.filename or workdir.path}: {error.strerror or error}. {last_good(checkpoints, workdir)}\n"
            "Once that is mended, the same command goes on."
        ) from error


def last_good(checkpoints: Checkpoints, workdir: Workdir) -> str:
    """Where a run that went wrong can be taken up, as a sentence."""
    saved = checkpoints.steps()
    if not saved:
        return "No checkpoint was written before it."
    return f"The checkpoint of step {saved[-1]} in {workdir.checkpoints_path} is the last good one."


class Trainer:
    """One process's part of a run: from where the last checkpoint stands to the end, or to a signal."""

    def __init__(
        self,
        experiment: Experiment,
        workdir: Workdir,
        program: Program,
        checkpoints: Checkpoints,
        train_split: Split,
        validation: Split | None,
        total: int,
    ):
        self._experiment, self._workdir, self._program = experiment, workdir, program
        self._checkpoints, self._total = checkpoints, total
        self._stepper = Stepper(experiment, program, train_split)
        self._validation = None if validation is None else program.feed(validation)
        self._since_line = Metrics.empty()
        self._latest: dict[str, float] = {}

    def go(self, start_from: Params | None) -> dict[str, Any]:
        """Trains to the end, a new run from these parameters where they are given, and says how it went."""
        state = self._restore_or_start(start_from)
        start = int(state.step)
        print_layers(self._program.module, state.params)
        began = time.monotonic()
        with (
            MetricsLog(self._workdir, start) as log,
            Progress(self._total, start) as progress,
            Profile(self._workdir.path / "tensorboard", self._experiment.profile_steps) as profile,
            StopRequest() as stop,
        ):
            step = start
            while step < self._total:
                before = step
                state, step = self._stepper.advance(state, step, self._next_due(step))
                progress.step(step)
                profile.steps(step - before, state)
                self._collect(left_under_way=1)
                stopping = stop.signal_number is not None
                if self._due(step, self._experiment.log_every):
                    self._write_train_line(step, log, progress)
                if self._due(step, self._evaluate_every):
                    self._evaluate(step, state, log, progress)
                    self._save(step, state, self._latest or None, log)
                elif stopping or self._due(step, self._experiment.checkpoint_every):
                    self._save(step, state, None, log)
                if stopping and step < self._total:
                    raise Interrupted(
                        f"Stopped at step {step} of {self._total}; saved.",
                        stop.signal_number or 0,
                    )
        return self._summary(state, time.monotonic() - began)

    def _due(self, step: int, every: int | None) -> bool:
        return every is not None and (step % every == 0 or step == self._total)

    @property
    def _evaluate_every(self) -> int:
        return self._experiment.evaluate_every or self._stepper.steps_per_epoch

    def _next_due(self, step: int) -> int:
        """The next step after which there is something to do."""
        cadences = (self._experiment.log_every, self._evaluate_every, self._experiment.checkpoint_every)
        return min(self._total, *((step // every + 1) * every for every in cadences if every is not None))

    def _restore_or_start(self, start_from: Params | None) -> TrainState:
        program = self._program
        abstract = {"params": program.abstract_params(), "opt_state": program.abstract_opt_state()}
        restored = self._checkpoints.restore_latest(abstract)
        if restored is not None:
            self._since_line, self._latest = restored.since_line, restored.validation
            console.print(f"Going on from step {restored.step} in {self._workdir.path}", markup=False)
            return program.start(restored.trees["params"], restored.trees["opt_state"], restored.step)
        return program.start(program.init_params() if start_from is None else start_from)

    def _collect(self, left_under_way: int = 0) -> None:
        """Adds up the metrics of steps, in float64, but for those of the last dispatches.

        Raises:
          RunError: one of the steps gave a loss or a parameter that is not finite.
        """
        for step, report in self._stepper.reports(left_under_way):
            if not report.finite:
                raise self._diverged("The loss or a parameter", step)
            self._since_line = self._since_line.merge(report.metrics)

    def _diverged(self, what: str, step: int) -> RunError:
        return RunError(
            f"{what} is not finite at step {step}. {last_good(self._checkpoints, self._workdir)} "
            "Try a lower --optimizer.learning-rate, or --optimizer.clip-norm 1, in a new --workdir."
        )

    def _write_train_line(self, step: int, log: MetricsLog, progress: Progress) -> None:
        self._collect()
        self._write(step, "train", self._since_line.means(), log, progress)
        self._since_line = Metrics.empty()

    def _evaluate(self, step: int, state: TrainState, log: MetricsLog, progress: Progress) -> None:
        self._collect()
        if self._validation is None:
            return
        self._latest = self._program.evaluate(state.params, self._validation).metrics
        if not all(math.isfinite(value) for value in self._latest.values()):
            raise self._diverged("The validation loss", step)
        self._write(step, "validation", self._latest, log, progress)

    def _write(self, step: int, split: str, metrics: dict[str, float], log: MetricsLog, progress: Progress) -> None:
        progress.line(step, split, metrics)
        log.write(step, step / self._stepper.steps_per_epoch, split, metrics)

    def _save(self, step: int, state: TrainState, validation: dict[str, float] | None, log: MetricsLog) -> None:
        """Commits the state, after the lines of metrics that led to it and never with values that are not finite."""
        self._collect()
        self._workdir.require_still_there()
        log.commit()
        self._checkpoints.save(
            step, {"params": state.params, "opt_state": state.opt_state}, self._since_line, validation
        )

    def _summary(self, state: TrainState, seconds: float) -> dict[str, Any]:
        best = self._checkpoints.best_step()
        return {
            "workdir": str(self._workdir.path),
            "step": int(state.step),
            "parameters": count_parameters(state.params),
            "train_seconds": round(seconds, 3),
            "validation": self._latest,
            "best": {"step": best} | (self._checkpoints.validation(best) if best is not None else {}),
        }


def params_of(directory: str, dataset: OpenDataset, abstract_params: Params) -> Params:
    """The best parameters of another run, for a model of the same shapes and the same words.

    Raises:
      UserError: there is no such run, or its model or vocabulary is another.
    """
    other = Workdir(directory)
    experiment = other.read_experiment()
    if dataset.vocabulary is not None and list(other.read_vocabulary()) != list(dataset.vocabulary):
        raise UserError(
            f"--start-from {directory}: that run has another vocabulary, so its embedding means other words."
        )
    higher_is_better = experiment.task.metrics[experiment.select_by]
    checkpoints = Checkpoints(other.checkpoints_path, experiment.select_by, higher_is_better)
    try:
        return checkpoints.restore(checkpoints.find("best"), {"params": abstract_params}).trees["params"]
    except UserError as error:
        raise UserError(f"--start-from {directory}: {error}") from error
