"""The base class of tasks: the loss and metrics of each example."""

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

    Every metric is a mean over examples, so it merges over batches and devices, and what evaluation
    writes for each example is what it averages.

    Attributes:
      metrics: the names that `per_example` gives, `loss` first; the value says whether higher is better.
      takes: what the model must return.
    """

    metrics: ClassVar[dict[str, bool]]
    output_type: ClassVar[Literal["logits", "pixels"]]
    # Norm of what is added to each example inside the model to make its loss worse, where a task has a field for it.
    adversarial_radius = 0.0

    @abc.abstractmethod
    def per_example(self, outputs: jax.Array, batch: Batch) -> PerExample:
        """Returns the loss and the metrics of each example, float32 [batch].

        Args:
          outputs: what the model's module returned for `batch["inputs"]`.
          batch: with `targets`.
        """

    def predictions(self, outputs: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """Returns what evaluation writes for each example next to its metrics, [batch] each."""
        return {}
