"""The training loop: step, log, evaluate, save, resume. It is the same for every task."""

import functools
import time
from typing import Any, NamedTuple

import jax

from lab10.config.errors import Interrupted
from lab10.config.experiment import Experiment
from lab10.data.batching import TrainingBatches
from lab10.data.dataset import Split
from lab10.parallel.multihost import all_max, require_same_on_all, run_on_all
from lab10.training.compatibility import require_outputs
from lab10.training.compilation_cache import use_compilation_cache
from lab10.training.ensemble import Ensemble
from lab10.training.evaluation import evaluate, require_split_metrics
from lab10.training.example_summaries import ExampleSummaries
from lab10.training.init_from import ParamsByPath, load_params
from lab10.training.profiling import Profile
from lab10.training.progress import Progress, print_layers
from lab10.training.run_writer import RunWriter
from lab10.training.signals import StopRequest
from lab10.training.state import TrainState, count_parameters
from lab10.training.step import LoopBody, StepFunctions, run_steps
from lab10.training.step_diagnostics import Throughput
from lab10.training.steps_in_flight import StepsInFlight


def train(run: RunWriter | Ensemble) -> Any:
    """Trains or resumes a run until its last step, or until early stopping ends it.

    Returns:
      `workdir`, `step`, `parameters` (count), `train_seconds`, `validation` (metrics at the last
      step) and `best` (`step` and validation metrics of the best checkpoint); a list for an ensemble.

    Raises:
      UserError: the data is missing, or the workdir holds another run.
      RunError: the loss or a parameter is no longer finite, or a file cannot be written.
      Interrupted: a signal stopped the run, which saved a checkpoint.
    """
    use_compilation_cache()
    experiment = run.experiment
    with run.locked():
        functions, state, train_split, validation_split = set_up(run)
        body, step, total = LoopBody(functions, run.num_members), run.step, functions.total_steps
        batches = TrainingBatches(train_split, experiment.batch_size, experiment.data.shuffle_seed)
        due = Due(experiment, batches.steps_per_epoch, total)
        in_flight = StepsInFlight(experiment.steps_per_execution, functions.mesh.is_multi_process)
        throughput = Throughput()
        loader = functions.device_loader(train_split, in_flight.tuner.max_steps)
        max_batches = loader.max_batches_for(experiment.batch_size)
        zero_metrics = jax.jit(functools.partial(body.zero_metrics, max_batches))
        validation = functions.device_loader(validation_split) if validation_split is not None else None
        began = time.monotonic()
        with (
            Progress(total, step) as progress,
            run.open(step, batches.steps_per_epoch, progress),
            Profile(run.workdir.tensorboard_path, experiment.profile_steps) as profile,
            StopRequest() as stop,
        ):
            while step < total and not run.finished:
                at_most = min(in_flight.tuner.steps, max_batches)
                indices = batches.indices(step, min(step + at_most, due.next_step(step)))
                loaded = loader.load(indices)
                carry = (state, zero_metrics())
                state, metrics = run_steps(0, loaded.num_batches, body.with_batches(loaded), carry)
                in_flight.add(step, len(indices), metrics)
                throughput.add(indices.num_examples)
                step += len(indices)
                progress.advance(step)
                profile.advance(len(indices), state)
                signal_number = all_max(stop.signal_number or 0)
                run.add_metrics(in_flight.fetch(keep_in_flight=0 if signal_number or due.anything(step) else 1))
                if due.logging(step):
                    run.log_train(step, throughput.read())
                with throughput.paused():
                    if due.evaluation(step) and validation is not None:
                        run.evaluate(step, state, lambda params: evaluate(functions, params, validation))
                    elif signal_number or due.evaluation(step) or due.checkpoint(step):
                        run.save(step, state)
                if signal_number and step < total:
                    raise Interrupted(f"Stopped at step {step} of {total}; saved.", signal_number)
        return run.summary(count_parameters(functions.abstract_params()), time.monotonic() - began)


class TrainingSetup(NamedTuple):
    """What a run starts from: the step functions, the train state, and the splits of the dataset."""

    functions: StepFunctions
    state: TrainState
    train_split: Split
    validation_split: Split | None


def set_up(run: RunWriter | Ensemble) -> TrainingSetup:
    """Opens the dataset, and restores or initializes the train state.

    Raises:
      UserError: the data is missing, or the workdir holds another run.
    """
    experiment = run.experiment
    dataset = run_on_all(lambda: experiment.data.open_dataset(run.workdir.path))
    require_same_on_all(lambda: {"the content of the dataset": dataset.content_sha256})
    train_split = dataset.open_split("train")
    validation_split = dataset.open_split("validation") if experiment.data.has_validation else None
    total = experiment.total_steps(len(train_split))
    functions = StepFunctions(experiment, dataset.spec, total, experiment.mesh.build())
    # Before the config is written, so that what is refused leaves no run behind.
    module = functions.module
    require_outputs(experiment.model, dataset.spec, functions.abstract_outputs())
    if experiment.optimizer.has_patterns:
        experiment.optimizer.require_patterns_match(functions.abstract_params())
    if validation_split is not None:
        require_split_metrics(functions, experiment.metrics, functions.device_loader(validation_split))
        run.set_example_summaries(ExampleSummaries(functions, dataset, validation_split))
    start: ParamsByPath = {}
    if run.needs_params:
        start = experiment.model.params_from_data(dataset.spec, train_split)
        if experiment.init_from is not None:
            start = {**start, **load_params(experiment, dataset, functions)}
    run.write_or_check_config(dataset)
    state = run.restore(functions, start)
    if run.step < total and not run.finished:
        print_layers(module, state.params)
    return TrainingSetup(functions, state, train_split, validation_split)


class Due:
    """Tells at which steps to log, evaluate and save: at multiples of an interval, and at the last step."""

    def __init__(self, experiment: Experiment, steps_per_epoch: int, total_steps: int):
        self._log_every, self._checkpoint_every = experiment.log_every, experiment.checkpoint_every
        self._evaluate_every = experiment.evaluate_every or steps_per_epoch
        self._total_steps = total_steps

    def logging(self, step: int) -> bool:
        """Whether a line of metrics is due."""
        return self._is_due(step, self._log_every)

    def evaluation(self, step: int) -> bool:
        """Whether an evaluation is due."""
        return self._is_due(step, self._evaluate_every)

    def checkpoint(self, step: int) -> bool:
        """Whether a checkpoint without an evaluation is due."""
        return self._is_due(step, self._checkpoint_every)

    def anything(self, step: int) -> bool:
        """Whether any of these is due."""
        return self.logging(step) or self.evaluation(step) or self.checkpoint(step)

    def next_step(self, step: int) -> int:
        """The first step after `step` at which anything is due."""
        intervals = (self._log_every, self._evaluate_every, self._checkpoint_every)
        return min(self._total_steps, *((step // every + 1) * every for every in intervals if every is not None))

    def _is_due(self, step: int, every: int | None) -> bool:
        return every is not None and (step % every == 0 or step == self._total_steps)
