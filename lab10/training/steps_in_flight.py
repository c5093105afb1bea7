"""Steps that the devices are still working on, and how many steps to run in one call."""

import collections
import dataclasses
import time
from collections.abc import Iterator

import jax

from lab10.tasks.metrics import Metrics

# Long enough to hide the cost of a call, short enough to notice a signal at once.
TARGET_SECONDS = 0.1
MAX_STEPS = 128
# Used by several processes, which would measure different times and run different numbers of steps.
MULTI_PROCESS_STEPS = 16


class StepsPerExecutionTuner:
    """Finds the number of steps to run in one call: it doubles while calls are short. No result depends on it.

    Args:
      fixed: a number of steps to use throughout; None to tune it.

    Attributes:
      max_steps: the largest number of steps in a call.
      steps: the number of steps for the next call.
    """

    def __init__(self, fixed: int | None):
        # With room for only one step, XLA would move its batch out of the loop over steps, and round differently.
        self.max_steps = MAX_STEPS if fixed is None else max(fixed, 2)
        self.steps = 1 if fixed is None else fixed
        self._fixed = fixed is not None

    def update(self, steps: int, seconds: float) -> None:
        """Records how long a call with that many steps took."""
        if self._fixed:
            return
        if seconds > 2 * TARGET_SECONDS:
            self.steps = max(1, min(self.steps, steps) // 2)
        elif seconds < TARGET_SECONDS and steps >= self.steps:
            self.steps = min(2 * self.steps, self.max_steps)


@dataclasses.dataclass(frozen=True)
class _Call:
    first_step: int
    num_steps: int
    metrics: Metrics
    began: float


class StepsInFlight:
    """The calls of `run_steps` whose metrics have not been fetched from the devices.

    A call returns before the devices have finished. The host prepares the next one meanwhile, and
    fetches the metrics later.

    Args:
      steps_per_execution: the number of steps in a call; None to tune it.
      multi_process: whether several processes make the same calls.
    """

    def __init__(self, steps_per_execution: int | None, multi_process: bool):
        fixed = steps_per_execution
        if fixed is None and multi_process:
            fixed = MULTI_PROCESS_STEPS
        self.tuner = StepsPerExecutionTuner(fixed)
        self._calls: collections.deque[_Call] = collections.deque()
        self._fetched = 0.0

    def add(self, first_step: int, num_steps: int, metrics: Metrics) -> None:
        """Adds a call, with the metrics of its steps, [max_steps, …]."""
        self._calls.append(_Call(first_step, num_steps, metrics, time.monotonic()))

    def fetch(self, keep_in_flight: int = 0) -> Iterator[tuple[int, Metrics]]:
        """Waits for all calls except the last `keep_in_flight`, and yields the metrics after each of their steps.

        Yields:
          The number of steps taken so far, and the metrics, [] or [members], on the host.
        """
        while len(self._calls) > keep_in_flight:
            call = self._calls.popleft()
            metrics = jax.device_get(call.metrics)
            now = time.monotonic()
            self.tuner.update(call.num_steps, now - max(call.began, self._fetched))
            self._fetched = now
            for i in range(call.num_steps):
                yield call.first_step + i + 1, jax.tree.map(lambda values, i=i: values[i], metrics)
