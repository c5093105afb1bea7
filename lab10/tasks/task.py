"""Base class of the tasks: the loss and the metrics of each example, from the outputs of a model and a batch."""

import abc
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lab10.config.errors import UserError
from lab10.data.dataset import Batch

PerExample = dict[str, Float[Array, " batch"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """A loss and metrics, as pure functions.

    Every metric is a mean over examples, so that metrics can be merged over batches and devices, and
    evaluation averages the same values that it writes for each example.

    Attributes:
      metrics: names of the metrics that `per_example` returns, `loss` first; the value says whether higher is better.
      evaluation_metrics: names of the metrics of a whole split (`lab10.metrics`) that evaluating a trained run adds.
      output_type: type of output that the model must return, the same word as the model's `output_type`.
      adversarial_radius: norm of the perturbation added to each example inside the model to increase its
        loss, as in `lab10.training.adversarial`. 0 unless a task has such a field.
    """

    option_prefix: ClassVar[str] = "task."

    metrics: ClassVar[dict[str, bool]]
    output_type: ClassVar[str]
    evaluation_metrics: ClassVar[tuple[str, ...]] = ()
    adversarial_radius = 0.0

    @abc.abstractmethod
    def per_example(self, outputs: Any, batch: Batch, key: jax.Array) -> PerExample:
        """Computes the loss and the metrics of each example, float32 [batch] each.

        A loss of several terms returns each term as a metric next to their sum, the `loss`.

        Args:
          outputs: outputs of the model's module for `batch["inputs"]`: an array, or a pytree of arrays.
          batch: the preprocessed batch, with `targets`.
          key: random key; different for each step in training, and for each batch in evaluation.
        """

    def extra_columns(self, outputs: Any, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """Values that evaluation writes for each example next to the metrics, [batch] or [batch, classes] each.

        Args:
          outputs: as for `per_example`.
          batch: as for `per_example`.
          key: the key that `per_example` has.
        """
        return {}

    def require_valid_metrics(self) -> None:
        """Checks the names in `metrics`: a line of metrics.jsonl with another name would not be read back.

        Raises:
          UserError: there is no loss, or a name is not an identifier.
        """
        names, task = getattr(self, "metrics", {}), type(self).__name__
        if "loss" not in names:
            raise UserError(
                f"The task {task} has no metric 'loss'; expected a dict `metrics` with 'loss' and every other name "
                "that per_example returns, and for each whether higher is better."
            )
        for name in names:
            if not name.isidentifier():
                raise UserError(
                    f"The task {task} has the metric {name!r}; expected letters, digits and underscores, such as "
                    f"{re.sub('[^0-9A-Za-z_]+', '_', name)!r}."
                )

    def checked_per_example(self, outputs: Any, batch: Batch, key: jax.Array) -> PerExample:
        """Returns `per_example`, checked to hold each metric once, with one value per example.

        Raises:
          UserError: a metric is missing or unknown, or has another shape; or the loss has no gradient.
        """
        values, rows = self.per_example(outputs, batch, key), batch["mask"].shape
        if not isinstance(values, Mapping):
            found = "an array" if isinstance(values, jax.Array) else f"a value of type {type(values).__name__}"
            raise UserError(
                f"{type(self).__name__}.per_example returns {found}; expected a dict of arrays, by the names in "
                f"its `metrics`: {', '.join(self.metrics)}."
            )
        if values.keys() != self.metrics.keys():
            raise UserError(
                f"{type(self).__name__}.per_example returns {', '.join(values)}; "
                f"expected the names in its `metrics`: {', '.join(self.metrics)}."
            )
        for name, value in values.items():
            if jnp.shape(value) != rows:
                raise UserError(
                    f"{type(self).__name__}.per_example returns {name!r} of shape {list(jnp.shape(value))} for a batch "
                    f"of {rows[0]} rows; expected {list(rows)}, one value per example."
                )
        if not jnp.issubdtype(dtype := jnp.result_type(values["loss"]), jnp.floating):
            raise UserError(
                f"{type(self).__name__}.per_example returns a loss of type {dtype}, which has no gradient; expected "
                "float32. Counts and correct answers can be other metrics, not the loss."
            )
        return values
