"""Classification: cross-entropy from logits, and accuracy."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lab10.config.fields import require_at_least, traced_field
from lab10.data.dataset import Batch
from lab10.tasks.task import PerExample, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Classification. Two classes may share one logit (sigmoid); otherwise each class has its own (softmax)."""

    metrics: ClassVar[dict[str, bool]] = {"loss": False, "accuracy": True}
    evaluation_metrics: ClassVar[tuple[str, ...]] = ("majority_share", "recall")
    output_type: ClassVar[str] = "logits"

    adversarial_radius: float = traced_field(0.0)
    """Norm of the adversarial perturbation of a text's word embeddings (Miyato et al. 2017); 0: none."""

    def __post_init__(self):
        require_at_least(0, self, "adversarial_radius")

    def logits(self, outputs: Any) -> Float[Array, "batch logits"]:
        """Extracts the logits used for the prediction; by default the outputs themselves."""
        return outputs

    def per_example(self, outputs: Any, batch: Batch, key: jax.Array) -> PerExample:
        logits, labels = self.logits(outputs), batch["targets"]
        return {"loss": cross_entropy(logits, labels), "accuracy": is_correct(logits, labels)}

    def extra_columns(self, outputs: Any, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        class_probabilities = probabilities(self.logits(outputs))
        return {
            "label": batch["targets"],
            "predicted": class_probabilities.argmax(axis=-1),
            "probability": class_probabilities.max(axis=-1),
            "probabilities": class_probabilities,
        }


def cross_entropy(logits: Float[Array, "batch logits"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns -log p(label) of each example, float32, with the classes' `probabilities`."""
    if logits.shape[-1] == 1:
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], labels.astype(jnp.float32))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def is_correct(logits: Float[Array, "batch logits"], labels: Int[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns 1 where the most probable class is the label, and 0 elsewhere, float32."""
    return (probabilities(logits).argmax(axis=-1) == labels).astype(jnp.float32)


def probabilities(logits: Float[Array, "batch logits"]) -> Float[Array, "batch classes"]:
    """Probability of each class, float32. A single logit is the logit of the second of two classes."""
    if logits.shape[-1] == 1:
        # sigmoid(-z) instead of 1 - sigmoid(z), which would round small probabilities to 0.
        return jnp.stack([jax.nn.sigmoid(-logits[:, 0]), jax.nn.sigmoid(logits[:, 0])], axis=-1)
    return jax.nn.softmax(logits)
