"""One training step and one evaluation step for every task, jit-compiled, written for a mesh of devices."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lab10.config import Experiment
from lab10.data.batching import evaluation_batches, on_device
from lab10.data.dataset import Batch, Spec, Split
from lab10.errors import UserError
from lab10.metrics import Metrics, Scalar
from lab10.training.state import Params, TrainState, init_params


class StepReport(struct.PyTreeNode):
    """What a training step says of itself, left on the device until somebody asks.

    Attributes:
      metrics: of the batch, before the update.
      finite: whether the loss, and every parameter after the update, is finite; bool [].
    """

    metrics: Metrics
    finite: Scalar


class Evaluation(struct.PyTreeNode):
    """A pass over a split.

    Attributes:
      metrics: the mean of each of the task's metrics over the examples, summed in float64.
      per_example: the metrics and predictions of each example, [examples], in the split's order.
    """

    metrics: dict[str, float]
    per_example: dict[str, np.ndarray]


def require_fitting(experiment: Experiment, spec: Spec) -> None:
    """Refuses parts that do not go together.

    Raises:
      UserError: names the parts.
    """
    model, task, transform = experiment.model, experiment.task, experiment.data.transform
    if model.gives != task.takes:
        raise UserError(
            f"The task {type(task).__name__} takes {task.takes}, "
            f"and the model {type(model).__name__} gives {model.gives}."
        )
    if transform.changes not in (None, spec.holds):
        raise UserError(
            f"The transform {type(transform).__name__} changes {transform.changes}, and the dataset holds {spec.holds}."
        )


class Program:
    """An experiment's model, task and optimizer as compiled functions on a mesh.

    Attributes:
      module: the flax module.
      rows: the sharding of batches: rows over the mesh's `data` axis.
      replicated: the sharding of the train state.
    """

    def __init__(self, experiment: Experiment, spec: Spec, total_steps: int | None = None):
        self._experiment, self._spec = experiment, spec
        require_fitting(experiment, spec)
        self.module = experiment.model.build(spec)
        # Inspection does not train, and need not know for how long the run did.
        self._optimizer = experiment.optimizer.build(total_steps) if total_steps is not None else optax.identity()
        mesh = Mesh(np.array(jax.local_devices()), ("data",))
        self.rows = NamedSharding(mesh, PartitionSpec("data"))
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self._devices = mesh.size

    def padded_size(self, batch_size: int) -> int:
        """Rows of a batch on the device: the next multiple of the mesh's devices."""
        return -(-batch_size // self._devices) * self._devices

    def init_params(self) -> Params:
        """The initial parameters."""
        return jax.jit(
            functools.partial(init_params, self.module, self._spec), static_argnums=0, out_shardings=self.replicated
        )(self._experiment.seed)

    def abstract_params(self) -> Params:
        """Shapes, dtypes and shardings of the parameters."""
        shapes = jax.eval_shape(functools.partial(init_params, self.module, self._spec, 0))
        return self._abstract(shapes)

    def abstract_opt_state(self) -> optax.OptState:
        """Shapes, dtypes and shardings of the optimizer's state."""
        return self._abstract(jax.eval_shape(self._optimizer.init, self.abstract_params()))

    def _abstract(self, tree):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.replicated), tree)

    def start(self, params: Params, opt_state: optax.OptState | None = None, step: int = 0) -> TrainState:
        """A train state of these parameters, with a fresh optimizer where none is given."""
        opt_state = self._optimizer.init(params) if opt_state is None else opt_state
        return jax.device_put(TrainState(jnp.int32(step), params, opt_state), self.replicated)

    def forward(self, params: Params, inputs: jax.Array) -> jax.Array:
        """The module's outputs."""
        return self.module.apply({"params": params}, inputs)  # type: ignore[return-value]

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepReport]:
        """One update by the mean loss over the batch's examples."""
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self._experiment.seed), 1), state.step)
        batch = self._experiment.data.transform(self._spec.decode(batch), key)

        def loss(params: Params) -> tuple[Scalar, Metrics]:
            metrics = Metrics.of(
                self._experiment.task.per_example(self.forward(params, batch["inputs"]), batch), batch["mask"]
            )
            return metrics.totals["loss"] / metrics.count, metrics

        gradients, metrics = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = self._optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        finite = jnp.isfinite(metrics.totals["loss"])
        for leaf in jax.tree.leaves(params):
            finite &= jnp.all(jnp.isfinite(leaf))
        return TrainState(state.step + 1, params, opt_state), StepReport(metrics, finite)

    @functools.partial(jax.jit, static_argnums=0)
    def evaluate_step(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """The task's metrics and predictions of each row, without any transform."""
        batch = self._spec.decode(batch)
        outputs = self.forward(params, batch["inputs"])
        return self._experiment.task.per_example(outputs, batch) | self._experiment.task.predictions(outputs, batch)

    def evaluate(self, params: Params, split: Split) -> Evaluation:
        """Every example of a split, once."""
        size = self.padded_size(self._experiment.evaluation_batch_size)
        batches = on_device(evaluation_batches(split, size), self.rows)
        parts: list[dict[str, np.ndarray]] = []
        under_way: collections.deque[dict[str, jax.Array]] = collections.deque()
        for batch in batches:
            under_way.append(self.evaluate_step(params, batch))
            if len(under_way) > 2:  # the device stays busy, and its queue short
                parts.append(jax.device_get(under_way.popleft()))
        parts += jax.device_get(list(under_way))
        per_example = {name: np.concatenate([part[name] for part in parts])[: len(split)] for name in parts[0]}
        metrics = {name: float(np.mean(per_example[name], dtype=np.float64)) for name in self._experiment.task.metrics}
        return Evaluation(metrics, per_example)
