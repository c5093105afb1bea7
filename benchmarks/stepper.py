"""Training steps outside of the loop, for measurements and tests of the steps alone."""

import functools
from collections.abc import Iterator

import jax

from lab10.data.batching import TrainingBatches
from lab10.data.dataset import Split
from lab10.tasks.metrics import Metrics
from lab10.training.state import TrainState
from lab10.training.step import LoopBody, StepFunctions, run_steps
from lab10.training.steps_in_flight import StepsInFlight


class Stepper:
    """Runs training steps on a split as `lab10.training.loop.train` does, without logs and checkpoints.

    Args:
      functions: the step functions of the experiment.
      split: the examples.
      num_members: number of runs trained together; None for a single run.
    """

    def __init__(self, functions: StepFunctions, split: Split, num_members: int | None = None):
        experiment = functions.experiment
        self._body = LoopBody(functions, num_members)
        self._batches = TrainingBatches(split, experiment.batch_size, experiment.data.shuffle_seed)
        self._in_flight = StepsInFlight(experiment.steps_per_execution, multi_process=False)
        self._loader = functions.device_loader(split, self._in_flight.tuner.max_steps)
        self._capacity = self._loader.max_batches_for(experiment.batch_size)
        self._empty_metrics = jax.jit(functools.partial(self._body.zero_metrics, self._capacity))
        self.steps_per_epoch = self._batches.steps_per_epoch

    def advance(self, state: TrainState, step: int, end: int) -> tuple[TrainState, int]:
        """Runs steps from `step` on in one call, at most to `end`; returns the state and the step after them."""
        at_most = min(self._in_flight.tuner.steps, self._capacity)
        indices = self._batches.indices(step, min(step + at_most, end))
        loaded = self._loader.load(indices)
        carry = (state, self._empty_metrics())
        state, metrics = run_steps(0, loaded.num_batches, self._body.with_batches(loaded), carry)
        self._in_flight.add(step, len(indices), metrics)
        return state, step + len(indices)

    def fetch_metrics(self, keep_in_flight: int = 0) -> Iterator[tuple[int, Metrics]]:
        """Waits for all calls but the last `keep_in_flight`; yields each of their steps and its metrics."""
        return self._in_flight.fetch(keep_in_flight)
