"""Everything a run writes: its lines of metrics, its checkpoints, and when it stops early."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lab10.cli.console import console
from lab10.config.errors import Diverged, RunError, UserError
from lab10.config.experiment import Experiment, flatten
from lab10.config.fields import option
from lab10.config.plain_values import with_plain_values
from lab10.data.dataset import OpenDataset, Spec
from lab10.parallel.multihost import is_lead_process, raise_on_all, require_same_on_all, run_on_lead
from lab10.tasks.metrics import Metrics
from lab10.training.checkpoint_metadata import CheckpointMetadata
from lab10.training.checkpoints import Checkpoints
from lab10.training.early_stopping import EarlyStopping
from lab10.training.evaluation import Evaluation
from lab10.training.example_summaries import ExampleSummaries
from lab10.training.init_from import ParamsByPath, starting_params
from lab10.training.metrics_log import MetricsLog
from lab10.training.progress import Progress
from lab10.training.provenance import provenance
from lab10.training.state import Params, TrainState
from lab10.training.step import StepFunctions
from lab10.training.workdir import Workdir

# Called with the step and the validation metrics after each evaluation; returns whether to end the run.
EvalCallback = Callable[[int, dict[str, float]], bool]


class RunWriter:
    """Writes the metrics and checkpoints of one run into its workdir.

    Args:
      experiment: the experiment to run.
      workdir: the folder of the run.
      on_evaluation: called after each evaluation; may end the run.

    Attributes:
      checkpoints: the checkpoints of the run.
      step: the step of the last checkpoint saved or restored.
      spec: description of the dataset, set by `write_or_check_config`.
      finished: whether the run has ended before its last step, by early stopping or by `on_evaluation`.
      num_members: None; the number of runs for an `Ensemble`, which has the same methods.
    """

    num_members: int | None = None

    def __init__(self, experiment: Experiment, workdir: Workdir, on_evaluation: EvalCallback | None = None):
        self.experiment, self.workdir = with_plain_values(experiment), workdir
        self.spec: Spec | None = None
        self._higher_is_better = experiment.higher_is_better
        self.checkpoints = Checkpoints(workdir.checkpoints_path, experiment.monitor, self._higher_is_better)
        self.step, self.finished = 0, False
        self._on_evaluation = on_evaluation
        self._pending = Metrics.empty()
        self._validation: dict[str, float] = {}
        self._early_stopping = EarlyStopping()
        self._examples: ExampleSummaries | None = None

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the workdir for this process."""
        return lock_workdirs([self])

    def write_or_check_config(self, dataset: OpenDataset) -> None:
        """Writes config.json, or checks that the recorded experiment computes the same result.

        Raises:
          UserError: the workdir holds another run, or not all processes can see it.
        """
        self.spec = dataset.spec
        run_on_lead(lambda: self.workdir.write_or_check_config(self.experiment, dataset))
        raise_on_all(self.workdir.shared_filesystem_error())
        require_same_on_all(lambda: {str(self.checkpoints.directory): self.checkpoints.steps()})

    @property
    def needs_params(self) -> bool:
        """Whether there is no checkpoint to resume from."""
        return not self.checkpoints.steps()

    def restore(self, functions: StepFunctions, start: ParamsByPath, at_most: int | None = None) -> TrainState:
        """Restores the latest checkpoint, or starts from the initial parameters if there is none.

        Args:
          functions: the step functions of the experiment.
          start: parameters that replace the initial ones.
          at_most: the latest step to restore, if not the last.
        """
        restored = self.checkpoints.restore_latest(functions.abstract_state().to_checkpoint(), at_most)
        info = CheckpointMetadata(Metrics.empty(), {}, {}, EarlyStopping()) if restored is None else restored.info
        self.step = 0 if restored is None else restored.step
        self._pending, self._validation = info.pending_metrics, info.validation
        self._early_stopping = info.early_stopping
        self.finished = self._early_stopping.should_stop(self.experiment.patience)
        if restored is None:
            return functions.init_state(starting_params(functions, start))
        console.print(f"Resuming from step {self.step} in {self.workdir.path}")
        return functions.put_on_devices(TrainState.from_checkpoint(restored.step, restored.trees))

    def set_example_summaries(self, examples: ExampleSummaries) -> None:
        """Shows these examples in TensorBoard after each evaluation."""
        self._examples = examples if is_lead_process() else None

    @contextlib.contextmanager
    def open(self, step: int, steps_per_epoch: int, progress: Progress) -> Iterator[None]:
        """Opens the log of metrics, and removes the lines written after `step`."""
        with MetricsLog(self.workdir, step) if is_lead_process() else contextlib.nullcontext() as log:
            self._log, self._steps_per_epoch, self._progress = log, steps_per_epoch, progress
            yield

    def add_metrics(self, metrics_of_steps: Iterable[tuple[int, Metrics]]) -> None:
        """Adds the metrics of steps, in float64, to those of the next line.

        Raises:
          Diverged: a loss or another metric is not finite, which a line of metrics.jsonl could not hold.
        """
        for step, metrics in metrics_of_steps:
            metrics = jax.tree.map(float, metrics)
            self._require_finite(metrics.totals, "", step)
            self._pending = self._pending.merge(metrics)

    def log_train(self, step: int, throughput: dict[str, float] | None = None) -> None:
        """Writes the mean of the metrics since the last line, and what describes the step itself."""
        diagnostics = {name: value for name, value in self._pending.diagnostics.items() if math.isfinite(value)}
        self._write(step, "train", self._pending.means(), diagnostics | (throughput or {}))
        self._pending = Metrics.empty()

    def evaluate(self, step: int, state: TrainState, evaluate: Callable[[Params], Evaluation]) -> None:
        """Evaluates the state, writes the metrics, and saves a checkpoint.

        Raises:
          Diverged: a metric or a parameter is not finite.
          UserError: the monitored metric is undefined on the validation split.
        """
        evaluation = evaluate(state.eval_params)
        metrics = evaluation.metrics | evaluation.split_scalars
        self._require_finite(metrics, "validation ", step)
        if self.experiment.monitor not in metrics:
            raise UserError(
                f"--monitor is {self.experiment.monitor!r}, which is undefined on the validation split at step {step}. "
                "Monitor another metric in a new --workdir, or hold out more examples with --data.validation-fraction."
            )
        self._validation = metrics
        self._early_stopping = self._early_stopping.update(metrics[self.experiment.monitor], self._higher_is_better)
        self.finished = self._early_stopping.should_stop(self.experiment.patience)
        if self._on_evaluation is not None and self._on_evaluation(step, metrics):
            self.finished = True
        if self.finished and self._pending.count:
            self.log_train(step)
        self._write(step, "validation", metrics)
        if self._examples is not None and self._log is not None:
            examples = self._examples.render(state.eval_params, evaluation.per_example)
            self._log.write_events(step, "validation", examples)
        self.save(step, state, metrics)

    def save(self, step: int, state: TrainState, validation: dict[str, float] | None = None) -> None:
        """Saves a checkpoint, after the lines of metrics that lead to it.

        Raises:
          Diverged: a parameter is not finite.
        """
        if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(jax.device_get(state.params))):
            raise self._diverged("A parameter", step)
        self.workdir.require_still_there()
        if self._log is not None:
            self._log.commit()
        self.checkpoints.save(step, state.to_checkpoint(), self._pending, validation, self._early_stopping)
        self.step = step

    def summary(self, parameters: int, seconds: float) -> dict[str, Any]:
        """The result of the run, as `scripts/train.py --json` prints it."""
        best = self.checkpoints.best_step()
        return {
            "workdir": str(self.workdir.path),
            "step": self.step,
            "parameters": parameters,
            "train_seconds": round(seconds, 3),
            "validation": self._validation,
            "best": {"step": best} | (self.checkpoints.validation(best) if best is not None else {}),
        }

    def resume_hint(self) -> str:
        """A sentence that names the checkpoint from which a failed run can be resumed."""
        saved = self.checkpoints.steps()
        if not saved:
            return "No checkpoint was written before it."
        return f"The checkpoint of step {saved[-1]} in {self.workdir.checkpoints_path} is the last good one."

    def shared_settings(self) -> dict[str, Any]:
        """What all processes of a run must have in common: everything except where each finds its data."""
        fields = {option(path): value for path, value in flatten(self.experiment, all_fields=True).items()}
        elsewhere = {"--data.dir", "--data.cache-dir"}
        software = {name: value for name, value in provenance().items() if name not in ("device", "devices")}
        shared = {name: value for name, value in fields.items() if name not in elsewhere}
        return shared | {"--workdir": str(self.workdir.path)} | software

    def _write(
        self, step: int, split: str, metrics: dict[str, float], diagnostics: dict[str, float] | None = None
    ) -> None:
        self._progress.show_metrics(step, split, metrics)
        if self._log is not None:
            self._log.write(step, step / self._steps_per_epoch, split, metrics | (diagnostics or {}))

    def _require_finite(self, metrics: Mapping[str, float], split_prefix: str, step: int) -> None:
        for name in ("loss", *metrics):
            if not math.isfinite(metrics[name]):
                raise self._diverged(f"The {split_prefix}{'loss' if name == 'loss' else f'metric {name}'}", step)

    def _diverged(self, subject: str, step: int) -> Diverged:
        return Diverged(
            f"{subject} is not finite at step {step}. {self.resume_hint()} "
            "Try a lower --optimizer.learning-rate, or --optimizer.clip-norm 1, in a new --workdir.",
            self.workdir.path,
        )


@contextlib.contextmanager
def lock_workdirs(runs: Sequence[RunWriter]) -> Iterator[None]:
    """Holds the workdirs of runs for this process.

    Raises:
      UserError: another process trains there, or the processes of the run differ in their experiment.
      RunError: a file could not be read or written meanwhile.
    """
    try:
        with contextlib.ExitStack() as locks:
            for run in runs:
                require_same_on_all(run.shared_settings)
            run_on_lead(lambda: [locks.enter_context(run.workdir.locked()) for run in runs])
            yield
    except OSError as error:
        run = next((run for run in runs if str(run.workdir.path) in str(error.filename)), runs[0])
        raise RunError(
            f"{error.filename or run.workdir.path}: {error.strerror or error}. {run.resume_hint()}\n"
            "Fix this, then run the same command to resume."
        ) from error
