"""A trace of some training steps for TensorBoard's profiler."""

from pathlib import Path

import jax

from lab10.training.state import TrainState

# Steps before the trace begins: compilation and the first transfers are no part of it.
WARM_UP = 10


class Profile:
    """Traces `steps` steps into `directory`; none where that is 0."""

    def __init__(self, directory: Path, steps: int):
        self._directory, self._left, self._waited, self._tracing = directory, steps, 0, False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        if self._tracing:
            jax.profiler.stop_trace()

    def step(self, state: TrainState) -> None:
        """Called after each step with its result."""
        if not self._left:
            return
        self._waited += 1
        if self._tracing:
            self._left -= 1
            if not self._left:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()
                self._tracing = False
        elif self._waited == WARM_UP:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self._directory))
            self._tracing = True
