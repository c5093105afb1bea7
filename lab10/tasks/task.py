"""Base class of the tasks: the loss and the metrics of each example, from the outputs of a model and a batch."""

import abc
import dataclasses
from typing import ClassVar, Literal

import jax
from jaxtyping import Array, Float

from lab10.data.dataset import Batch

PerExample = dict[str, Float[Array, " batch"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """A loss and metrics, as pure functions.

    Every metric is a mean over examples, so that metrics can be merged over batches and devices, and
    evaluation averages the same values that it writes for each example.

    Attributes:
      metrics: names of the metrics that `per_example` returns, `loss` first; the value says whether higher is better.
      output_type: type of output that the model must return.
      adversarial_radius: norm of the perturbation added to each example inside the model to increase its
        loss, as in `lab10.training.adversarial`. 0 unless a task has such a field.
    """

    metrics: ClassVar[dict[str, bool]]
    output_type: ClassVar[Literal["logits", "pixels"]]
    adversarial_radius = 0.0

    @abc.abstractmethod
    def per_example(self, outputs: jax.Array, batch: Batch) -> PerExample:
        """Computes the loss and the metrics of each example, float32 [batch] each.

        Args:
          outputs: outputs of the model's module for `batch["inputs"]`.
          batch: the preprocessed batch, with `targets`.
        """

    def predictions(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """Values that evaluation writes for each example next to the metrics, [batch] each."""
        return {}
