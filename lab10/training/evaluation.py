"""Evaluation: a pass over a split, in which every example counts exactly once."""

import concurrent.futures
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from lab10.data.batching import NO_EXAMPLE, BatchIndices, evaluation_batches
from lab10.data.device_loader import DeviceBatches, DeviceLoader
from lab10.metrics.compute import Value, compute_metrics, require_columns, scalars_of
from lab10.metrics.split_metric import SplitMetric, require_monitored_class
from lab10.parallel.mesh import replicated
from lab10.training.state import Params
from lab10.training.step import EVALUATION, StepFunctions, random_key


class Evaluation(struct.PyTreeNode):
    """The result of a pass over a split.

    Attributes:
      metrics: mean of each metric of the task over the examples, summed in float64.
      per_example: metrics and predictions of each example, [examples, …], in the order of the split.
      split_metrics: values of the metrics of the whole split; None if undefined.
      split_scalars: those that are defined numbers, by the name that a line of metrics gives them.
    """

    metrics: dict[str, float]
    per_example: dict[str, np.ndarray]
    split_metrics: dict[str, Value]
    split_scalars: dict[str, float]


def evaluate(
    functions: StepFunctions, params: Params, loader: DeviceLoader, split_metrics: Sequence[SplitMetric] | None = None
) -> Evaluation:
    """Evaluates parameters on every example of a split.

    Args:
      functions: the step functions of the experiment.
      params: the parameters.
      loader: loads the split.
      split_metrics: metrics of the whole split; None: those of the experiment.

    Raises:
      UserError: a metric of the whole split fails.
    """
    experiment, split = functions.experiment, loader.split
    batch_size = experiment.evaluation_batch_size
    split_metrics = experiment.metrics if split_metrics is None else split_metrics
    batches = evaluation_batches(split, batch_size, loader.max_batches_for(batch_size))
    per_example: dict[str, np.ndarray] = {}

    def run(indices: BatchIndices) -> dict[str, np.ndarray]:
        return jax.device_get(eval_steps(functions, params, loader.load(indices)))

    # A scan keeps one core busy, so two calls at a time use two. Programs that span devices must start in the same
    # order on all of them.
    with concurrent.futures.ThreadPoolExecutor(2 if functions.mesh.size == 1 else 1) as threads:
        for indices, outputs in zip(batches, threads.map(run, batches), strict=True):
            real = indices.examples != NO_EXAMPLE
            for name, values in outputs.items():
                column = per_example.setdefault(name, np.empty((len(split), *values.shape[2:]), values.dtype))
                column[indices.examples[real]] = values[: len(indices)][real]
    metrics = {name: float(np.mean(per_example[name], dtype=np.float64)) for name in experiment.task.metrics}
    class_names = functions.spec.class_names
    split_values = compute_metrics(split_metrics, per_example, class_names)
    return Evaluation(metrics, per_example, split_values, scalars_of(split_metrics, split_values, class_names))


def require_split_metrics(functions: StepFunctions, metrics: Sequence[SplitMetric], loader: DeviceLoader) -> None:
    """Checks, without evaluating, that an evaluation can compute metrics of the whole split, and has --monitor.

    Raises:
      UserError: a metric needs a column that evaluations of this run lack, or no class has the name in --monitor.
    """
    if not metrics:
        return
    batches = loader.abstract_batches(functions.experiment.evaluation_batch_size, loader.split.padded_lengths[-1])
    columns = jax.eval_shape(functools.partial(eval_steps, functions), functions.abstract_params(), batches)
    require_columns(metrics, columns.keys())
    require_monitored_class(functions.experiment.monitor, metrics, functions.spec.class_names)


@functools.partial(jax.jit, static_argnums=0)
def eval_steps(functions: StepFunctions, params: Params, batches: DeviceBatches) -> dict[str, Any]:
    """Runs `eval_step` on every batch; the outputs are [max_batches, rows], and blank after the last batch."""

    def eval_step(i: jax.Array | int) -> dict[str, jax.Array]:
        # The first row of a batch is in no other batch, so its id gives a unique key.
        key = random_key(functions.experiment.seed, EVALUATION, batches.row_ids[i, 0])
        return functions.eval_step(params, batches[i], key)

    def body(i: jax.Array, outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return jax.tree.map(lambda stored, values: stored.at[i].set(values), outputs, eval_step(i))

    shapes = jax.eval_shape(eval_step, 0)
    blank = {name: jnp.zeros((batches.max_batches, *leaf.shape), leaf.dtype) for name, leaf in shapes.items()}
    outputs = jax.lax.fori_loop(0, batches.num_batches, body, blank)
    # Replicated, so that every process has the values of every example.
    return jax.lax.with_sharding_constraint(outputs, replicated(functions.mesh))
