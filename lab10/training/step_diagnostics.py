"""What is logged in addition to a task's metrics: sizes of gradients and updates, and examples per second."""

import contextlib
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import optax

from lab10.training.state import Params

DIAGNOSTICS = ("gradient_norm", "learning_rate", "parameter_norm", "update_ratio")


def copy_params_if_logged(
    is_logged: jax.Array, previous_params: Params, params: Params, batch_index: jax.Array
) -> tuple[Params, jax.Array]:
    """Copies the parameters before a step that is logged to arrays that are carried from step to step.

    An update is in place only if nothing reads the parameters after it, so XLA would copy them at every step to compute
    the norm of an update. This copies them at logged steps only, except on GPUs, whose programs still copy them each
    time. The step must use the batch index that is returned, which is the one given. XLA does not know that, and orders
    the step after the copy.

    Args:
      is_logged: whether the step is logged, bool [].
      previous_params: the parameters that were copied last.
      params: the parameters before the step.
      batch_index: index of the batch of the step, int32 [].

    Returns:
      The updated copy, and the index.
    """
    return jax.lax.cond(
        is_logged, lambda: (params, jnp.maximum(batch_index, 0)), lambda: (previous_params, batch_index)
    )


def step_diagnostics(
    is_logged: jax.Array, learning_rate: jax.Array | float, grads: Params, before: Params, after: Params
) -> dict[str, jax.Array]:
    """Returns the diagnostics of a step, float32 [] each; NaN unless it is logged.

    Args:
      is_logged: whether the step is logged, bool [].
      learning_rate: the learning rate of the step.
      grads: gradients, before clipping.
      before: parameters before the step, from `copy_params_if_logged`.
      after: parameters after the step.

    Returns:
      `learning_rate`; `gradient_norm` and `parameter_norm`, the Euclidean norms over all parameters; and
      `update_ratio`, the norm of the update divided by that of the parameters.
    """

    def compute() -> jax.Array:
        parameter_norm = optax.tree.norm(before)
        diagnostics = {
            "gradient_norm": optax.tree.norm(grads),
            "learning_rate": learning_rate,
            "parameter_norm": parameter_norm,
            "update_ratio": optax.tree.norm(jax.tree.map(jnp.subtract, after, before)) / parameter_norm,
        }
        stacked = jnp.stack([jnp.asarray(diagnostics[name], jnp.float32) for name in DIAGNOSTICS])
        # Without the barrier, XLA considers both branches cheap, and computes both at every step.
        return jax.lax.optimization_barrier(stacked)

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
