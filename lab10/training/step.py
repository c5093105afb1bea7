"""The training step and the evaluation step: pure functions of a state, or parameters, and a batch."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.errors import InvalidRngError
from jax.sharding import Mesh
from jax.tree_util import Partial

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.config.fields import is_static_zero
from lab10.config.traced_fields import with_traced_fields
from lab10.data.dataset import Batch, Spec, Split
from lab10.data.device_loader import DeviceBatches, DeviceLoader
from lab10.parallel.mesh import local_mesh, replicated
from lab10.tasks.metrics import Metrics, Scalar
from lab10.training.adversarial import PERTURBATIONS, Perturbations, with_adversarial_gradient
from lab10.training.compatibility import require_compatible
from lab10.training.state import Params, TrainState, ema_update, init_params
from lab10.training.step_diagnostics import DIAGNOSTICS, no_diagnostics, step_diagnostics

# Random streams, `fold_in(fold_in(key(seed), stream), step)`. Stream 0 initializes the parameters.
TRANSFORM, DROPOUT, SAMPLE, EVALUATION, TASK = 1, 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class StepFunctions:
    """The pure functions of an experiment. Equal values share compiled programs.

    Attributes:
      experiment: the model, task, optimizer and transform to use.
      spec: the description of the dataset.
      total_steps: length of the run, for the learning-rate schedule; 0 if nothing is trained.
      mesh: devices over which the rows of a batch are distributed.
      is_logged: within a training step, whether it is logged, bool [], for `apply_gradients`.
    """

    experiment: Experiment
    spec: Spec
    total_steps: int = 0
    mesh: Mesh = dataclasses.field(default_factory=local_mesh)
    is_logged: jax.Array | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self):
        require_compatible(self.experiment, self.spec)

    @functools.cached_property
    def module(self) -> nn.Module:
        """The Flax module."""
        return self.experiment.model.build(self.spec)

    def train_step(
        self, state: TrainState, batch: Batch, is_logged: jax.Array | None = None
    ) -> tuple[TrainState, Metrics]:
        """Takes the training step of the experiment.

        Args:
          state: the state before the step.
          batch: raw rows of the dataset, with `mask`.
          is_logged: whether to compute the diagnostics of the step, bool []; None: there are none.

        Returns:
          The state after the step, and the metrics of the batch before it.
        """
        # The input, too: otherwise XLA may keep the parameters sharded like the optimizer's state between steps.
        state = jax.lax.with_sharding_constraint(state, self._shardings(state))
        train_step = with_traced_fields(self.experiment, state.hyperparams).train_step
        functions = dataclasses.replace(self, is_logged=is_logged)
        state, metrics = train_step(functions, state, batch)
        if is_logged is not None and not metrics.diagnostics:  # a custom step may apply no gradients
            metrics = metrics.replace(diagnostics=no_diagnostics())
        return jax.lax.with_sharding_constraint(state, self._shardings(state)), metrics

    def loss(self, state: TrainState, batch: Batch) -> Callable[[Params], tuple[Scalar, Metrics]]:
        """Returns the function from parameters to the mean loss over the batch, and its metrics.

        The transform and the random keys are those of the state's step. Differentiate it with `has_aux=True`. In
        adversarial training, its gradient includes that of the adversarial loss.
        """
        experiment = with_traced_fields(self.experiment, state.hyperparams)
        task, module = experiment.task, experiment.model.build(self.spec)
        transform_key = random_key(experiment.seed, TRANSFORM, state.step)
        batch = experiment.data.transform.apply(self.spec.preprocess(batch), transform_key, self.spec)
        rngs = {
            "dropout": random_key(experiment.seed, DROPOUT, state.step),
            "sample": random_key(experiment.seed, SAMPLE, state.step),
        }
        task_key = random_key(experiment.seed, TASK, state.step)

        def loss(params: Params, perturbations: Perturbations | None = None) -> tuple[Scalar, Metrics]:
            variables = {"params": params} | ({} if perturbations is None else {PERTURBATIONS: perturbations})
            outputs = self._apply(module, variables, batch["inputs"], rngs)
            metrics = Metrics.of(task.checked_per_example(outputs, batch, task_key), batch["mask"])
            return metrics.totals["loss"] / metrics.count, metrics

        if is_static_zero(task.adversarial_radius):
            return loss
        return with_adversarial_gradient(loss, module, batch["inputs"], task.adversarial_radius)

    def apply_gradients(self, state: TrainState, grads: Params, metrics: Metrics) -> tuple[TrainState, Metrics]:
        """Updates the parameters once, and with them the step, the optimizer's state and the moving average.

        Returns:
          The next state, and the metrics with the diagnostics of the update if it is logged.
        """
        experiment = with_traced_fields(self.experiment, state.hyperparams)
        optimizer = experiment.optimizer.build(self.total_steps)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = experiment.optimizer.apply_updates(state.params, updates)
        if self.is_logged is not None:
            learning_rate = experiment.optimizer.learning_rate_at(state.step, self.total_steps)
            diagnostics = step_diagnostics(self.is_logged, learning_rate, grads, params)
            metrics = metrics.replace(diagnostics=diagnostics)
        ema_params = state.ema_params
        if ema_params is not None:
            ema_params = ema_update(ema_params, params, experiment.ema_decay, state.step + 1)
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state, ema_params=ema_params)
        return state, metrics

    def eval_step(self, params: Params, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """Computes the metrics and predictions of each row of a batch, without dropout and the training transform.

        Args:
          params: the parameters.
          batch: raw rows of the dataset.
          key: for the module's `sample` stream and for the task.

        Returns:
          Arrays by name, [batch, …] each.
        """
        batch = self.experiment.data.transform.for_evaluation(self.spec.preprocess(batch))
        outputs = self._apply(self.module, {"params": params}, batch["inputs"], {"sample": key})
        task, task_key = self.experiment.task, jax.random.fold_in(key, TASK)
        return task.checked_per_example(outputs, batch, task_key) | task.extra_columns(outputs, batch, task_key)

    def device_loader(self, split: Split, max_batches: int = 64) -> DeviceLoader:
        """A loader for a split, of at most `max_batches` batches at a time."""
        return DeviceLoader(split, self.spec, self.mesh, max_batches, self.experiment.device_dataset_max_mib * 2**20)

    def init_params(self) -> Params:
        """The initial parameters, on every device."""
        return _init_params(self, np.uint32(self.experiment.seed))

    def init_state(self, params: Params) -> TrainState:
        """The state of a run that starts from `params`."""
        optimizer = self.experiment.optimizer.build(self.total_steps)
        # Copies, because a training step consumes the buffers of its state.
        ema_params = None if is_static_zero(self.experiment.ema_decay) else jax.tree.map(jnp.copy, params)
        state = TrainState(np.array(0, np.int32), params, jax.jit(optimizer.init)(params), ema_params)
        return self.put_on_devices(state)

    def put_on_devices(self, state: TrainState) -> TrainState:
        """Moves a state to the devices, sharded as every step expects it."""
        return jax.device_put(state, self._shardings(state))

    def abstract_params(self) -> Params:
        """Shapes, dtypes and shardings of the parameters."""
        params = jax.eval_shape(functools.partial(init_params, self.module, self.spec, 0))
        return _with_shardings(params, jax.tree.map(lambda _: replicated(self.mesh), params))

    def abstract_outputs(self) -> Any:
        """Shapes and dtypes of the module's outputs for a batch of one example, as in evaluation."""

        def outputs(params: Params, key: jax.Array) -> Any:
            batch = {name: jnp.asarray(array) for name, array in self.spec.example().items()}
            return self._apply(self.module, {"params": params}, self.spec.preprocess(batch)["inputs"], {"sample": key})

        return jax.eval_shape(outputs, self.abstract_params(), jax.random.key(0))

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the train state."""
        params = self.abstract_params()
        opt_state = jax.eval_shape(self.experiment.optimizer.build(self.total_steps).init, params)
        ema_params = None if is_static_zero(self.experiment.ema_decay) else params
        state = TrainState(np.array(0, np.int32), params, opt_state, ema_params)
        return _with_shardings(state, self._shardings(state))

    def _apply(self, module: nn.Module, variables: dict[str, Any], inputs: jax.Array, rngs: dict[str, Any]) -> Any:
        """The outputs of the module.

        Raises:
          UserError: the module draws from a random stream that `rngs` does not have.
        """
        try:
            # Tells models over how many devices the rows are sharded: XLA cannot shard a custom kernel by itself.
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return module.apply(variables, inputs, rngs=rngs)
        except InvalidRngError as error:
            raise UserError(
                f"The model {type(self.experiment.model).__name__} draws from a random stream that it does not have "
                f"here: {error}\nTraining has the streams dropout and sample; evaluation has sample, without dropout."
            ) from error

    def _shardings(self, state: TrainState) -> TrainState:
        return state.shardings(self.mesh, self.experiment.mesh.shard_optimizer)


@dataclasses.dataclass(frozen=True)
class LoopBody:
    """One iteration of the loop over training steps that runs on the device.

    Attributes:
      functions: the step functions of the experiment.
      num_members: number of runs that are trained together; None for a single run without a dimension of members.
    """

    functions: StepFunctions
    num_members: int | None = None

    def __call__(
        self, batches: DeviceBatches, i: jax.Array, carry: tuple[TrainState, Metrics]
    ) -> tuple[TrainState, Metrics]:
        """Takes the training step on the batch with index `i` and stores its metrics under `i`."""
        state, metrics = carry
        train_step, step = self.functions.train_step, state.step + 1
        if self.num_members is not None:
            # One condition for all members: `jax.vmap` would compute both branches of a condition per member.
            train_step, step = jax.vmap(train_step, in_axes=(0, None, None)), step[0]
        is_logged = (step % self.functions.experiment.log_every == 0) | (step == self.functions.total_steps)
        state, step_metrics = train_step(state, batches[i], is_logged)
        metrics = jax.tree.map(lambda stored, value: stored.at[i].set(value), metrics, step_metrics)
        return state, metrics

    def with_batches(self, batches: DeviceBatches) -> Partial:
        """The body for these batches, as an argument of `run_steps`."""
        return Partial(self, batches)

    def zero_metrics(self, max_steps: int) -> Metrics:
        """Zeros for the metrics of `max_steps` steps, [max_steps] or [max_steps, members]."""
        shape = (max_steps,) if self.num_members is None else (max_steps, self.num_members)
        totals = {name: jnp.zeros(shape) for name in self.functions.experiment.task.metrics}
        metrics = Metrics(totals, jnp.zeros(shape), {name: jnp.zeros(shape) for name in DIAGNOSTICS})
        return jax.lax.with_sharding_constraint(metrics, replicated(self.functions.mesh))


# Runs steps 0 to n - 1 in one call, `run_steps(0, n, body.with_batches(batches), carry)` with the carry `(state,
# metrics)`, and returns the carry after them. One compiled program serves any n: starting a small step from Python
# takes as long as the step.
run_steps = jax.jit(jax.lax.fori_loop, static_argnums=0, donate_argnums=3)


def random_key(seed: int | jax.Array, stream: int, step: jax.Array | np.ndarray | int) -> jax.Array:
    """The key of one random stream at one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)


@functools.partial(jax.jit, static_argnums=0)
def _init_params(functions: StepFunctions, seed: jax.Array) -> Params:
    params = init_params(functions.module, functions.spec, seed)
    return jax.lax.with_sharding_constraint(params, replicated(functions.mesh))


def _with_shardings(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree, shardings
    )
