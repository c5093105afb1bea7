"""Classification: cross-entropy from logits, and accuracy."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

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
        require_at_least(0, self, "adversarial_radius", prefix="task.")

    def per_example(self, outputs: jax.Array, batch: Batch, key: jax.Array) -> PerExample:
        labels = batch["targets"]
        if outputs.shape[-1] == 1:
            loss = optax.sigmoid_binary_cross_entropy(outputs[:, 0], labels.astype(jnp.float32))
        else:
            loss = optax.softmax_cross_entropy_with_integer_labels(outputs, labels)
        accuracy = (probabilities(outputs).argmax(axis=-1) == labels).astype(jnp.float32)
        return {"loss": loss, "accuracy": accuracy}

    def predictions(self, outputs: jax.Array, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        class_probabilities = probabilities(outputs)
        return {
            "label": batch["targets"],
            "predicted": class_probabilities.argmax(axis=-1),
            "probability": class_probabilities.max(axis=-1),
            "probabilities": class_probabilities,
        }


def probabilities(logits: Float[Array, "batch logits"]) -> Float[Array, "batch classes"]:
    """Probability of each class, float32. A single logit is the logit of the second of two classes."""
    if logits.shape[-1] == 1:
        # sigmoid(-z) instead of 1 - sigmoid(z), which would round small probabilities to 0.
        return jnp.stack([jax.nn.sigmoid(-logits[:, 0]), jax.nn.sigmoid(logits[:, 0])], axis=-1)
    return jax.nn.softmax(logits)
