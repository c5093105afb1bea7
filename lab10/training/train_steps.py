"""How a batch changes the parameters. To train differently, subclass `TrainStep`, also in an experiment's own file."""

import abc
import dataclasses
from typing import TYPE_CHECKING

import jax

from lab10.data.transforms import Batch
from lab10.tasks.metrics import Metrics
from lab10.training.state import TrainState

if TYPE_CHECKING:
    from lab10.training.step import StepFunctions


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainStep(abc.ABC):
    """A pure function from a state and a batch to the next state. Its fields are options of the command line."""

    @abc.abstractmethod
    def __call__(self, functions: "StepFunctions", state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Takes one step, within a compiled program.

        Args:
          functions: the step functions of the experiment: `loss` and `apply_gradients`.
          state: the state before the step.
          batch: raw rows of the dataset, with `mask`.

        Returns:
          The state after the step, whose `step` is one more, and the metrics of the batch before it.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainStep(TrainStep):
    """One gradient of the batch, and one update."""

    def __call__(self, functions: "StepFunctions", state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        grads, metrics = jax.grad(functions.loss(state, batch), has_aux=True)(state.params)
        return functions.apply_gradients(state, grads, metrics)
