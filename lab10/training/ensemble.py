"""Runs that are trained together, as one program on the same batches."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lab10.config.experiment import Experiment
from lab10.config.traced_fields import static_signature, traced_fields_of
from lab10.data.dataset import OpenDataset
from lab10.parallel.mesh import replicated
from lab10.tasks.metrics import Metrics
from lab10.training.evaluation import Evaluation
from lab10.training.example_summaries import ExampleSummaries
from lab10.training.init_from import ParamsByPath
from lab10.training.progress import Progress
from lab10.training.run_writer import RunWriter, lock_workdirs
from lab10.training.state import Params, TrainState
from lab10.training.step import StepFunctions


class Ensemble:
    """Runs whose experiments differ in traced fields alone. It has the methods of a `RunWriter`.

    The arrays of its train state have a leading dimension of members, and `hyperparams` holds the
    values in which the members differ. Members that are already finished are not trained.

    Raises:
      ValueError: the experiments differ in more than traced fields.
    """

    def __init__(self, runs: Sequence[RunWriter]):
        if len({static_signature(run.experiment) for run in runs}) != 1:
            raise ValueError("The experiments differ in more than traced fields.")
        self.runs = self._members = list(runs)
        self.experiment, self.workdir = runs[0].experiment, runs[0].workdir

    @property
    def num_members(self) -> int:
        """Number of runs to train."""
        return len(self._members)

    @property
    def step(self) -> int:
        """The step that all members have reached."""
        return self._members[0].step if self._members else max(run.step for run in self.runs)

    @property
    def finished(self) -> bool:
        """Whether all members have finished."""
        return all(run.finished for run in self._members)

    @property
    def needs_params(self) -> bool:
        """Whether a run has no checkpoint to resume from."""
        return any(run.needs_params for run in self.runs)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the workdirs of all runs for this process."""
        return lock_workdirs(self.runs)

    def write_or_check_config(self, dataset: OpenDataset) -> None:
        """Writes the config.json of every run."""
        for run in self.runs:
            run.write_or_check_config(dataset)

    def restore(self, functions: StepFunctions, start: ParamsByPath) -> TrainState:
        """Restores the runs that are not finished, at the latest step of which all of them have a checkpoint."""
        members = [dataclasses.replace(functions, experiment=run.experiment) for run in self.runs]
        states = [run.restore(member, start) for run, member in zip(self.runs, members, strict=True)]
        while True:
            ongoing = [i for i, run in enumerate(self.runs) if not (run.finished or run.step >= functions.total_steps)]
            common = min((self.runs[i].step for i in ongoing), default=0)
            ahead = [i for i in ongoing if self.runs[i].step > common]
            if not ahead:
                break
            for i in ahead:
                states[i] = self.runs[i].restore(members[i], start, at_most=common)
        self._members = [self.runs[i] for i in ongoing]
        if not ongoing:
            return states[0]
        stacked = stack([run.experiment for run in self._members], [states[i] for i in ongoing])
        return jax.device_put(stacked, replicated(functions.mesh))

    def set_example_summaries(self, examples: ExampleSummaries) -> None:
        """Shows these examples in TensorBoard after each evaluation of each run."""
        for run in self.runs:
            run.set_example_summaries(examples)

    @contextlib.contextmanager
    def open(self, step: int, steps_per_epoch: int, progress: Progress) -> Iterator[None]:
        """Opens the logs of all members."""
        with contextlib.ExitStack() as logs:
            for run in self._members:
                logs.enter_context(run.open(step, steps_per_epoch, progress))
            yield

    def add_metrics(self, metrics_of_steps: Iterable[tuple[int, Metrics]]) -> None:
        """Adds the metrics of steps, [members] each."""
        for step, metrics in metrics_of_steps:
            for i, run in self._ongoing():
                run.add_metrics([(step, jax.tree.map(lambda values, i=i: values[i], metrics))])

    def log_train(self, step: int, throughput: dict[str, float] | None = None) -> None:
        """Writes a line of metrics for each member."""
        for _, run in self._ongoing():
            run.log_train(step, throughput)

    def evaluate(self, step: int, state: TrainState, evaluate: Callable[[Params], Evaluation]) -> None:
        """Evaluates and saves each member."""
        for i, run in self._ongoing():
            run.evaluate(step, _member(state, i), evaluate)

    def save(self, step: int, state: TrainState) -> None:
        """Saves a checkpoint of each member."""
        for i, run in self._ongoing():
            run.save(step, _member(state, i))

    def summary(self, parameters: int, seconds: float) -> list[dict[str, Any]]:
        """The result of each run."""
        return [run.summary(parameters, seconds) for run in self.runs]

    def _ongoing(self) -> list[tuple[int, RunWriter]]:
        return [(i, run) for i, run in enumerate(self._members) if not run.finished]


def stack(experiments: Sequence[Experiment], states: Sequence[TrainState]) -> TrainState:
    """The train state of several runs as one, with the values in which their experiments differ as `hyperparams`."""
    values = [traced_fields_of(experiment) for experiment in experiments]
    differing = [name for name in values[0] if len({fields[name] for fields in values}) > 1]
    hyperparams = {
        name: jnp.array([fields[name] for fields in values], jnp.uint32 if name == "seed" else jnp.float32)
        for name in differing
    }
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states).replace(hyperparams=hyperparams)


def _member(state: TrainState, i: int) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[i], state.replace(hyperparams={}))
