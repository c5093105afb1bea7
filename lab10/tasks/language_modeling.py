"""Language modeling: the cross-entropy of each next word, in nats."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lab10.data.dataset import Batch
from lab10.models.language_model import NextWordLosses
from lab10.tasks.task import PerExample, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModeling(Task):
    """Cross-entropy of the next word in nats, the mean over the words of a text.

    Every text has the same weight in the loss. The perplexity of a split gives every word the same weight.
    """

    metrics: ClassVar[dict[str, bool]] = {"loss": False}
    evaluation_metrics: ClassVar[tuple[str, ...]] = ("perplexity",)
    output_type: ClassVar[str] = "NextWordLosses"

    def per_example(self, outputs: NextWordLosses, batch: Batch, key: jax.Array) -> PerExample:
        num_words = jnp.sum(outputs.mask, axis=1, dtype=jnp.float32)
        return {"loss": jnp.sum(outputs.nats, axis=1) / jnp.maximum(num_words, 1)}

    def extra_columns(self, outputs: NextWordLosses, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        return {"nats": jnp.sum(outputs.nats, axis=1), "words": jnp.sum(outputs.mask, axis=1)}
