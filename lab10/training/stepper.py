"""Moves a train state forward, many steps in one dispatch."""

import collections
import dataclasses
import time
from collections.abc import Iterator

import jax

from lab10.config import Experiment
from lab10.data.batching import TrainingBatches
from lab10.data.dataset import Split
from lab10.training.pace import SHARED_STEPS, Pace
from lab10.training.state import TrainState
from lab10.training.step import Program, StepReport


@dataclasses.dataclass(frozen=True)
class Dispatched:
    """The reports of `count` steps after step `start`, which went to the device `at` a time (s, monotonic)."""

    start: int
    count: int
    reports: StepReport
    at: float


class Stepper:
    """Feeds a split to a program.

    A dispatch returns before the device is done: the next one is prepared meanwhile, and reports
    are fetched when somebody asks for them.

    Attributes:
      steps_per_epoch: steps in a pass over the split.
    """

    def __init__(self, experiment: Experiment, program: Program, split: Split):
        self._program = program
        self._batches = TrainingBatches(split, experiment.batch_size, experiment.data.order_seed)
        self.steps_per_epoch = self._batches.steps_per_epoch
        # Processes that measure each on its own would not dispatch the same.
        alone = None if jax.process_count() == 1 else SHARED_STEPS
        self._pace = Pace(experiment.steps_per_dispatch or alone)
        self._feed = program.feed(split, self._pace.capacity)
        self._under_way: collections.deque[Dispatched] = collections.deque()
        self._fetched_at = 0.0

    def advance(self, state: TrainState, step: int, end: int) -> tuple[TrainState, int]:
        """Dispatches steps from `step` on, not beyond `end`; returns the state after them, and their last."""
        steps = self._batches.steps(step, min(step + self._pace.steps, end))
        count = len(steps.examples)
        state, reports = self._program.train_steps(state, self._feed(steps))
        self._under_way.append(Dispatched(step, count, reports, time.monotonic()))
        return state, step + count

    def reports(self, left_under_way: int = 0) -> Iterator[tuple[int, list[StepReport]]]:
        """Waits for all dispatches but the last few; gives each step's number and each member's report, on the host."""
        while len(self._under_way) > left_under_way:
            dispatched = self._under_way.popleft()
            reports = jax.device_get(dispatched.reports)
            now = time.monotonic()
            self._pace.took(dispatched.count, now - max(dispatched.at, self._fetched_at))
            self._fetched_at = now
            leaves, structure = jax.tree.flatten(reports)
            rows = [leaf[: dispatched.count].reshape(dispatched.count, -1).tolist() for leaf in leaves]
            for step, of_step in enumerate(zip(*rows, strict=True), start=dispatched.start + 1):
                yield step, [jax.tree.unflatten(structure, of_member) for of_member in zip(*of_step, strict=True)]
