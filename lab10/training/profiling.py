"""A trace of some training steps for TensorBoard's profiler."""

from pathlib import Path

import jax

from lab10.training.state import TrainState

# Steps before the trace begins: compilation and the first transfers are no part of it.
WARM_UP = 10


class Profile:
    """Traces at least `steps` steps into `directory`, whole dispatches of them; none where that is 0."""

    def __init__(self, directory: Path, steps: int):
        self._directory, self._left, self._waited, self._tracing = directory, steps, 0, False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        if self._tracing:
            jax.profiler.stop_trace()

    def steps(self, count: int, state: TrainState) -> None:
        """Called after each dispatch with its number of steps and its result."""
        if self._left <= 0:
            return
        self._waited += count
        if self._tracing:
            self._left -= count
            if self._left <= 0:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()
                self._tracing = False
        elif self._waited >= WARM_UP:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._directory))
            self._tracing = True
