"""Traces of training steps for TensorBoard's profiler."""

from pathlib import Path

import jax

from lab10.training.state import TrainState

# Steps before the trace starts, so that it shows neither compilation nor the first transfers.
WARMUP_STEPS = 10


class Profile:
    """Traces at least `steps` steps, in whole calls of `run_steps`, into `directory`; none if `steps` is 0."""

    def __init__(self, directory: Path, steps: int):
        self._directory, self._remaining = directory, steps
        self._steps_seen, self._tracing = 0, False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        if self._tracing:
            jax.profiler.stop_trace()

    def advance(self, count: int, state: TrainState) -> None:
        """Starts or stops the trace if due.

        Args:
          count: number of steps in the last call of `run_steps`.
          state: the result of that call.
        """
        if self._remaining <= 0:
            return
        self._steps_seen += count
        if self._tracing:
            self._remaining -= count
            if self._remaining <= 0:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()
                self._tracing = False
        elif self._steps_seen >= WARMUP_STEPS:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._directory))
            self._tracing = True
