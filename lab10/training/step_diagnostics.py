"""Values logged in addition to a task's metrics: norms, the learning rate, and examples per second."""

import contextlib
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import optax

from lab10.training.state import Params

DIAGNOSTICS = ("gradient_norm", "learning_rate", "parameter_norm")


def step_diagnostics(
    is_logged: jax.Array, learning_rate: jax.Array | float, grads: Params, params: Params
) -> dict[str, jax.Array]:
    """Returns the diagnostics of a step, float32 [] each; NaN unless it is logged.

    Args:
      is_logged: whether the step is logged, bool [].
      learning_rate: the learning rate of the step.
      grads: gradients, before clipping.
      params: parameters after the step. Reading those before it would keep XLA from updating them in place.

    Returns:
      `learning_rate`; `gradient_norm` and `parameter_norm`, the Euclidean norms over all parameters.
    """

    def compute() -> jax.Array:
        values = [optax.tree.norm(grads), learning_rate, optax.tree.norm(params)]
        # Without the barrier, XLA considers both branches cheap, and computes both at every step.
        return jax.lax.optimization_barrier(jnp.stack([jnp.asarray(value, jnp.float32) for value in values]))

    # One vector: a GPU starts a kernel for each array that a branch returns.
    stacked = jax.lax.cond(is_logged, compute, lambda: jnp.full(len(DIAGNOSTICS), jnp.nan))
    return dict(zip(DIAGNOSTICS, stacked, strict=True))


def no_diagnostics() -> dict[str, jax.Array]:
    """Returns the diagnostics of a step that is not logged: NaN."""
    return dict.fromkeys(DIAGNOSTICS, jnp.float32(jnp.nan))


class Throughput:
    """Measures the examples per second of training, without evaluations and checkpoints.

    The time begins with the first call of `add`, after the program was compiled.
    """

    def __init__(self):
        self._began: float | None = None
        self._examples = 0

    def add(self, examples: int) -> None:
        """Adds examples that were sent to the devices."""
        if self._began is None:
            self._began = time.monotonic()
        self._examples += examples

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time of a block."""
        began = time.monotonic()
        yield
        if self._began is not None:
            self._began += time.monotonic() - began

    def read(self) -> dict[str, float]:
        """Returns `examples_per_second` since the last reading; the devices must have finished."""
        now, began, examples = time.monotonic(), self._began, self._examples
        self._began, self._examples = now, 0
        # The name says that it is a time: no two runs have the same.
        return {} if began is None or now <= began else {"examples_per_second": examples / (now - began)}
