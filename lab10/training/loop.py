"""The loop: feeds the step, writes lines of metrics, evaluates, saves, resumes. The same for every task."""

import math
import time
from typing import Any

import jax

from lab10.config import Experiment
from lab10.console import console
from lab10.data.batching import TrainingBatches, on_device
from lab10.data.dataset import OpenDataset, Split
from lab10.errors import Interrupted, RunError, UserError
from lab10.metrics import Metrics
from lab10.training.checkpoints import Checkpoints
from lab10.training.metrics_log import MetricsLog
from lab10.training.profile import Profile
from lab10.training.progress import Progress, print_layers
from lab10.training.signals import StopRequest
from lab10.training.state import Params, TrainState, count_parameters
from lab10.training.step import Program, StepReport
from lab10.workdir import Workdir

# Reports are fetched at least this often, so that a loss that is not finite stops the run soon and
# the device's queue stays short.
FETCH_EVERY = 100


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
    with workdir.locked():
        dataset = experiment.data.open()
        train_split = dataset.open_split("train")
        validation = dataset.open_split("validation") if experiment.data.validation_share > 0 else None
        total = experiment.total_steps(len(train_split))
        program = Program(experiment, dataset.spec, total)
        higher_is_better = experiment.task.metrics[experiment.select_by]
        with Checkpoints(workdir.checkpoints_path, experiment.select_by, higher_is_better) as checkpoints:
            start_from = None
            if experiment.start_from is not None and not checkpoints.steps():
                start_from = params_of(experiment.start_from, dataset, program.abstract_params())
            workdir.write_config(experiment, dataset)
            trainer = Trainer(experiment, workdir, program, checkpoints, train_split, validation, total)
            return trainer.go(start_from)


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
        self._checkpoints, self._validation, self._total = checkpoints, validation, total
        self._batches = TrainingBatches(
            train_split,
            experiment.batch_size,
            experiment.data.order_seed,
            program.padded_size(min(experiment.batch_size, len(train_split))),
        )
        self._pending: list[StepReport] = []
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
            host_batches = (self._batches.batch(step) for step in range(start, self._total))
            for step, batch in enumerate(on_device(host_batches, self._program.rows), start=start + 1):
                state, report = self._program.train_step(state, batch)
                self._pending.append(report)
                progress.step(step)
                profile.step(state)
                stopping = stop.signal_number is not None
                if self._due(step, self._experiment.log_every):
                    self._write_train_line(step, log, progress)
                if self._due(step, self._experiment.evaluate_every or self._batches.steps_per_epoch):
                    self._evaluate(step, state, log, progress)
                    self._save(step, state, self._latest or None, log)
                elif stopping or self._due(step, self._experiment.checkpoint_every):
                    self._save(step, state, None, log)
                elif step % FETCH_EVERY == 0:
                    self._fetch(step)
                if stopping and step < self._total:
                    raise Interrupted(
                        f"Stopped at step {step} of {self._total}; saved. The same command goes on from there.",
                        stop.signal_number or 0,
                    )
        return self._summary(state, time.monotonic() - began)

    def _due(self, step: int, every: int | None) -> bool:
        return every is not None and (step % every == 0 or step == self._total)

    def _restore_or_start(self, start_from: Params | None) -> TrainState:
        program = self._program
        abstract = {"params": program.abstract_params(), "opt_state": program.abstract_opt_state()}
        restored = self._checkpoints.restore_latest(abstract)
        if restored is not None:
            self._since_line, self._latest = restored.since_line, restored.validation
            console.print(f"Going on from step {restored.step} in {self._workdir.path}", markup=False)
            return program.start(restored.trees["params"], restored.trees["opt_state"], restored.step)
        return program.start(program.init_params() if start_from is None else start_from)

    def _fetch(self, step: int) -> None:
        """Brings reports to the host and adds them up, in float64.

        Raises:
          RunError: one of the steps gave a loss or a parameter that is not finite.
        """
        reports, self._pending = jax.device_get(self._pending), []
        for place, report in enumerate(reports, start=step - len(reports) + 1):
            if not report.finite:
                raise self._diverged("The loss or a parameter", place)
            totals = {name: float(total) for name, total in report.metrics.totals.items()}
            self._since_line = self._since_line.merge(Metrics(totals, float(report.metrics.count)))

    def _diverged(self, what: str, step: int) -> RunError:
        saved = self._checkpoints.steps()
        kept = (
            f"The checkpoint of step {saved[-1]} in {self._workdir.checkpoints_path} is the last good one."
            if saved
            else "No checkpoint was written before it."
        )
        return RunError(
            f"{what} is not finite at step {step}. {kept} "
            "Try a lower --optimizer.learning-rate, or --optimizer.clip-norm 1, in a new --workdir."
        )

    def _write_train_line(self, step: int, log: MetricsLog, progress: Progress) -> None:
        self._fetch(step)
        self._write(step, "train", self._since_line.means(), log, progress)
        self._since_line = Metrics.empty()

    def _evaluate(self, step: int, state: TrainState, log: MetricsLog, progress: Progress) -> None:
        self._fetch(step)
        if self._validation is None:
            return
        self._latest = self._program.evaluate(state.params, self._validation).metrics
        if not all(math.isfinite(value) for value in self._latest.values()):
            raise self._diverged("The validation loss", step)
        self._write(step, "validation", self._latest, log, progress)

    def _write(self, step: int, split: str, metrics: dict[str, float], log: MetricsLog, progress: Progress) -> None:
        log.write(step, step / self._batches.steps_per_epoch, split, metrics)
        progress.line(step, split, metrics)

    def _save(self, step: int, state: TrainState, validation: dict[str, float] | None, log: MetricsLog) -> None:
        """Commits the state, after the lines of metrics that led to it and never with values that are not finite."""
        self._fetch(step)
        log.flush()
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
    with Checkpoints(other.checkpoints_path, experiment.select_by, higher_is_better) as checkpoints:
        try:
            return checkpoints.restore(checkpoints.find("best"), {"params": abstract_params}).trees["params"]
        except UserError as error:
            raise UserError(f"--start-from {directory}: {error}") from error
