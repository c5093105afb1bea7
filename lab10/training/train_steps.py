"""How a batch changes the parameters. To train differently, subclass `TrainStep`, also in an experiment's own file."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax

from lab10.data.transforms import Batch
from lab10.tasks.metrics import Metrics, Scalar
from lab10.training.state import Params, TrainState


@runtime_checkable
class TrainingFunctions(Protocol):
    """The functions that a step is composed of; `StepFunctions` (`lab10.training.step`) has them."""

    def loss(self, state: TrainState, batch: Batch) -> Callable[[Params], tuple[Scalar, Metrics]]:
        """Returns the function from parameters to the mean loss over the batch, and its metrics."""

    def grad(self, state: TrainState, batch: Batch) -> Callable[[Params], tuple[Params, Metrics]]:
        """Returns the gradient of `loss`, as a function of the parameters, with the metrics of the batch."""

    def apply_gradients(self, state: TrainState, grads: Params, metrics: Metrics) -> tuple[TrainState, Metrics]:
        """Returns the state after one update of the parameters, and the metrics with diagnostics of the update."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainStep(abc.ABC):
    """A pure function from a state and a batch to the next state. Its fields are options of the command line."""

    @abc.abstractmethod
    def __call__(self, functions: TrainingFunctions, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Takes one step, within a compiled program.

        Args:
          functions: the step functions of the experiment.
          state: the state before the step.
          batch: raw rows of the dataset, with `mask`.

        Returns:
          The state after the step, whose `step` is one more, and the metrics of the batch before it.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainStep(TrainStep):
    """One gradient of the batch, and one update."""

    def __call__(self, functions: TrainingFunctions, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        grads, metrics = jax.grad(functions.loss(state, batch), has_aux=True)(state.params)
        return functions.apply_gradients(state, grads, metrics)
