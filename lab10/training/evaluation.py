"""Evaluation: a pass over a split, in which every example counts exactly once."""

import concurrent.futures
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec

from lab10.data.batching import NO_EXAMPLE, BatchIndices, evaluation_batches
from lab10.data.device_loader import DeviceBatches, DeviceLoader
from lab10.training.state import Params
from lab10.training.step import EVALUATION, StepFunctions, random_key


class Evaluation(struct.PyTreeNode):
    """The result of a pass over a split.

    Attributes:
      metrics: mean of each metric of the task over the examples, summed in float64.
      per_example: metrics and predictions of each example, [examples], in the order of the split.
    """

    metrics: dict[str, float]
    per_example: dict[str, np.ndarray]


def evaluate(steps: StepFunctions, params: Params, loader: DeviceLoader) -> Evaluation:
    """Evaluates parameters on every example of a split."""
    experiment, split = steps.experiment, loader.split
    batches = evaluation_batches(split, experiment.evaluation_batch_size, loader.capacity)
    per_example: dict[str, np.ndarray] = {}

    def run(indices: BatchIndices) -> dict[str, np.ndarray]:
        return jax.device_get(eval_steps(steps, params, loader.load(indices)))

    # A scan keeps one core busy, so two calls at a time use two. Programs that span devices must start in the same
    # order on all of them.
    with concurrent.futures.ThreadPoolExecutor(2 if steps.mesh.size == 1 else 1) as threads:
        for indices, outputs in zip(batches, threads.map(run, batches), strict=True):
            real = indices.examples != NO_EXAMPLE
            for name, values in outputs.items():
                column = per_example.setdefault(name, np.empty(len(split), values.dtype))
                column[indices.examples[real]] = values[: len(indices)][real]
    metrics = {name: float(np.mean(per_example[name], dtype=np.float64)) for name in experiment.task.metrics}
    return Evaluation(metrics, per_example)


@functools.partial(jax.jit, static_argnums=0)
def eval_steps(steps: StepFunctions, params: Params, batches: DeviceBatches) -> dict[str, Any]:
    """Runs `eval_step` on every batch; the outputs are [capacity, rows], and blank after the last batch."""

    def eval_step(i: jax.Array | int) -> dict[str, jax.Array]:
        # The first row of a batch is in no other batch, so its id makes a key of its own.
        key = random_key(steps.experiment.seed, EVALUATION, batches.row_ids[i, 0])
        return steps.eval_step(params, batches[i], key)

    def body(i: jax.Array, outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return jax.tree.map(lambda stored, values: stored.at[i].set(values), outputs, eval_step(i))

    shapes = jax.eval_shape(eval_step, 0)
    blank = {name: jnp.zeros((batches.capacity, *leaf.shape), leaf.dtype) for name, leaf in shapes.items()}
    outputs = jax.lax.fori_loop(0, batches.count, body, blank)
    # Replicated, so that every process has the values of every example.
    return jax.lax.with_sharding_constraint(outputs, NamedSharding(steps.mesh, PartitionSpec()))
