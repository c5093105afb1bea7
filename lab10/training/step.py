"""One training step and one evaluation step for every task, jit-compiled, written for a mesh of devices."""

import concurrent.futures
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lab10.config import Experiment
from lab10.data.batching import NO_EXAMPLE, Steps, evaluation_steps
from lab10.data.dataset import Batch, Spec, Split
from lab10.data.feed import Fed, Feed
from lab10.errors import UserError
from lab10.fields import is_off
from lab10.mesh import in_parts, local_mesh
from lab10.metrics import Metrics, Scalar
from lab10.training.adversarial import PERTURBATIONS, Perturbations, adversarial_gradients
from lab10.training.state import Params, TrainState, averaged, init_params


class StepReport(struct.PyTreeNode):
    """What a training step says of itself, left on the device until somebody asks; [steps] for several.

    Attributes:
      metrics: of the batch, before the update.
      finite: whether the loss is finite and, at the end of a dispatch, every parameter; bool.
    """

    metrics: Metrics
    finite: Scalar | bool


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

    Args:
      experiment: what to compute.
      spec: of its dataset.
      total_steps: of the run; None where nothing is trained.
      mesh: of devices, along one axis, over which the rows of a batch lie; None: this process's own.

    Attributes:
      module: the flax module.
      mesh: the devices.
      replicated: the sharding of what every device has whole.
    """

    def __init__(self, experiment: Experiment, spec: Spec, total_steps: int | None = None, mesh: Mesh | None = None):
        self._experiment, self._spec = experiment, spec
        require_fitting(experiment, spec)
        self.module = experiment.model.build(spec)
        # Inspection does not train, and need not know for how long the run did.
        self._optimizer = experiment.optimizer.build(total_steps) if total_steps is not None else optax.identity()
        self._averages = not is_off(experiment.average_decay)
        self._shards_optimizer = experiment.mesh.shard_optimizer
        self.mesh = local_mesh() if mesh is None else mesh
        self.replicated = NamedSharding(self.mesh, PartitionSpec())

    def init_params(self) -> Params:
        """The initial parameters."""
        init = jax.jit(functools.partial(init_params, self.module, self._spec), out_shardings=self.replicated)
        return init(np.uint32(self._experiment.seed))

    def abstract_params(self) -> Params:
        """Shapes, dtypes and shardings of the parameters."""
        shapes = jax.eval_shape(functools.partial(init_params, self.module, self._spec, 0))
        return self._abstract(shapes)

    def abstract_trees(self) -> dict[str, Any]:
        """Shapes, dtypes and shardings of what a checkpoint holds."""
        params = self.abstract_params()
        opt_state = jax.eval_shape(self._optimizer.init, params)
        opt_state = self._abstract(opt_state, self._opt_shardings(opt_state))
        return TrainState(np.array(0), params, opt_state, params if self._averages else None).trees()

    def _abstract(self, tree, shardings=None):
        shardings = jax.tree.map(lambda _: self.replicated, tree) if shardings is None else shardings
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree, shardings
        )

    def _opt_shardings(self, opt_state: Any) -> Any:
        """Where each array of the optimizer's state lies."""
        in_place = functools.partial(in_parts, self.mesh) if self._shards_optimizer else lambda _: self.replicated
        return jax.tree.map(in_place, opt_state)

    def start(self, params: Params) -> TrainState:
        """The train state of a run that begins with these parameters."""
        # A copy: a step is given its state for good, each array once.
        averages = jax.tree.map(jnp.copy, params) if self._averages else None
        shardings = self._opt_shardings(jax.eval_shape(self._optimizer.init, params))
        opt_state = jax.jit(self._optimizer.init, out_shardings=shardings)(params)
        return self._placed(jax.device_put, TrainState(np.array(0, np.int32), params, opt_state, averages))

    def go_on(self, step: int, trees: dict[str, Any]) -> TrainState:
        """The train state of which a checkpoint holds the trees."""
        params, averages = trees["params"], None
        if self._averages:
            params, averages = trees["unaveraged"], params
        return self._placed(jax.device_put, TrainState(np.array(step, np.int32), params, trees["opt_state"], averages))

    def _placed(self, place: Callable[[Any, Any], Any], state: TrainState) -> TrainState:
        """The state as every step takes and leaves it; `place` moves what is there, or constrains what is traced."""
        opt_state = place(state.opt_state, self._opt_shardings(state.opt_state))
        return place(state.replace(opt_state=()), self.replicated).replace(opt_state=opt_state)

    def join(self, states: Sequence[TrainState]) -> TrainState:
        """What `train_steps` takes for the runs of these states; here there is one."""
        (state,) = states
        return state

    def members(self, state: TrainState) -> list[TrainState]:
        """The inverse of `join`."""
        return [state]

    def forward(
        self,
        params: Params,
        inputs: jax.Array,
        key: jax.Array | None = None,
        perturbations: Perturbations | None = None,
    ) -> jax.Array:
        """The module's outputs; with a key as in training, where dropout is on; with what is added inside of it."""
        rngs = None if key is None else {"dropout": key}
        variables = {"params": params} | ({PERTURBATIONS: perturbations} if perturbations is not None else {})
        return self.module.apply(variables, inputs, rngs=rngs)  # type: ignore[return-value]

    def feed(self, split: Split, capacity: int = 64) -> Feed:
        """The way of a split's examples to the device, at most `capacity` steps at a time."""
        return Feed(split, self.mesh, capacity, self._experiment.resident_mib * 2**20)

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def train_steps(self, state: TrainState, fed: Fed) -> tuple[TrainState, StepReport]:
        """Every step that is fed, one `train_step` each; reports beyond the last are blank."""
        return self._train_steps(state, fed)

    def _train_steps(self, state: TrainState, fed: Fed) -> tuple[TrainState, StepReport]:
        def body(place: jax.Array, carry: tuple[TrainState, StepReport]) -> tuple[TrainState, StepReport]:
            state, report = self._train_step(carry[0], fed.batch(self._spec, place))
            return state, jax.tree.map(lambda every, one: every.at[place].set(one), carry[1], report)

        blank = jnp.zeros(len(fed.places))
        totals = dict.fromkeys(self._experiment.task.metrics, blank)
        reports = StepReport(Metrics(totals, blank), blank.astype(bool))
        state, reports = jax.lax.fori_loop(0, fed.count, body, (state, reports))
        # Once a dispatch: after every step it would cost a tenth of the step.
        reports = reports.replace(finite=reports.finite.at[fed.count - 1].min(_all_finite(state.params)))
        return state, jax.lax.with_sharding_constraint(reports, self.replicated)

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepReport]:
        """One update by the mean loss over the batch's examples: `train_steps` in plain form."""
        state, report = self._train_step(state, batch)
        return state, report.replace(finite=report.finite & _all_finite(state.params))

    def _train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, StepReport]:
        # Of the seed's streams, 0 made the initial parameters.
        transform_key, dropout_key = (
            jax.random.fold_in(jax.random.fold_in(jax.random.key(self._experiment.seed), stream), state.step)
            for stream in (1, 2)
        )
        batch = self._experiment.data.transform(self._spec.decode(batch), transform_key)

        def loss(params: Params, perturbations: Perturbations | None = None) -> tuple[Scalar, Metrics]:
            outputs = self.forward(params, batch["inputs"], dropout_key, perturbations)
            metrics = Metrics.of(self._experiment.task.per_example(outputs, batch), batch["mask"])
            return metrics.totals["loss"] / metrics.count, metrics

        radius = self._experiment.task.adversarial_radius
        if not is_off(radius):
            shapes = jax.eval_shape(self.module.init, dropout_key, batch["inputs"])[PERTURBATIONS]
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            gradients, metrics = adversarial_gradients(loss, state.params, zeros, radius)
        else:
            gradients, metrics = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = self._optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        averages = state.averages
        if averages is not None:
            averages = averaged(averages, params, self._experiment.average_decay, state.step + 1)
        report = StepReport(metrics, jnp.isfinite(metrics.totals["loss"]))
        state = TrainState(state.step + 1, params, opt_state, averages)
        return self._placed(jax.lax.with_sharding_constraint, state), report

    @functools.partial(jax.jit, static_argnums=0)
    def evaluate_step(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """The task's metrics and predictions of each row, without any transform."""
        batch = self._spec.decode(batch)
        outputs = self.forward(params, batch["inputs"])
        return self._experiment.task.per_example(outputs, batch) | self._experiment.task.predictions(outputs, batch)

    @functools.partial(jax.jit, static_argnums=0)
    def evaluate_steps(self, params: Params, fed: Fed) -> dict[str, jax.Array]:
        """Every step that is fed, one `evaluate_step` each, [capacity, rows]; blank beyond the last."""

        def body(place: jax.Array, every: dict[str, jax.Array]) -> dict[str, jax.Array]:
            one = self.evaluate_step(params, fed.batch(self._spec, place))
            return {name: every[name].at[place].set(one[name]) for name in every}

        one = jax.eval_shape(self.evaluate_step, params, fed.batch(self._spec, 0))
        blank = {name: jnp.zeros((len(fed.places), *leaf.shape), leaf.dtype) for name, leaf in one.items()}
        # Whole on every device, so that every process has every example's.
        return jax.lax.with_sharding_constraint(jax.lax.fori_loop(0, fed.count, body, blank), self.replicated)

    def evaluate(self, params: Params, feed: Feed) -> Evaluation:
        """Every example of a split, once."""
        per_example: dict[str, np.ndarray] = {}

        def one(steps: Steps) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            return steps.examples, jax.device_get(self.evaluate_steps(params, feed(steps)))

        rows = self._experiment.evaluation_batch_size
        # A scan keeps one core busy, and XLA runs side by side what two threads ask of a CPU. Programs that span
        # devices must start in one order everywhere.
        with concurrent.futures.ThreadPoolExecutor(2 if self.mesh.size == 1 else 1) as threads:
            for examples, of_rows in threads.map(one, evaluation_steps(feed.split, rows, feed.capacity)):
                real = examples != NO_EXAMPLE
                for name, values in of_rows.items():
                    column = per_example.setdefault(name, np.empty(len(feed.split), values.dtype))
                    column[examples[real]] = values[: len(examples)][real]
        metrics = {name: float(np.mean(per_example[name], dtype=np.float64)) for name in self._experiment.task.metrics}
        return Evaluation(metrics, per_example)


def _all_finite(params: Params) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)]))
