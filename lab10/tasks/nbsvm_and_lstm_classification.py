"""Classification by NBSVM and LSTMs: each learns from its own loss, and their weighted logits are the prediction."""

import dataclasses
from typing import ClassVar

import jax
from jaxtyping import Array, Float

from lab10.config.fields import require_fraction, traced_field
from lab10.data.dataset import Batch
from lab10.models.nbsvm_and_lstm import NBSVMAndLSTMLogits
from lab10.tasks.classification import Classification, cross_entropy, is_correct, probabilities
from lab10.tasks.task import PerExample


@dataclasses.dataclass(frozen=True, kw_only=True)
class NBSVMAndLSTMClassification(Classification):
    """Classification by a weighted mean of the logits of NBSVM and LSTMs (a logarithmic opinion pool, Heskes 1998).

    The loss is the sum of each classifier's own cross-entropy: trained on their combined logits, one would learn only
    what the other leaves over, and the weaker one would hardly learn. `accuracy` and `combined_loss` are those of the
    combined logits.
    """

    metrics: ClassVar[dict[str, bool]] = {
        "loss": False,
        "accuracy": True,
        "combined_loss": False,
        "nbsvm_loss": False,
        "nbsvm_accuracy": True,
        "lstm_loss": False,
        "lstm_accuracy": True,
    }
    output_type: ClassVar[str] = "NBSVMAndLSTMLogits"

    lstm_weight: float = traced_field(0.5)
    """Weight of the mean of the LSTMs' logits in the prediction, from 0 to 1; NBSVM's logits have the rest."""

    def __post_init__(self):
        super().__post_init__()
        require_fraction(self, "lstm_weight", below_1=False)

    def logits(self, outputs: NBSVMAndLSTMLogits) -> Float[Array, "batch logits"]:
        return (1 - self.lstm_weight) * outputs.nbsvm + self.lstm_weight * outputs.lstms.mean(axis=0)

    def per_example(self, outputs: NBSVMAndLSTMLogits, batch: Batch, key: jax.Array) -> PerExample:
        """As for `Task`. `lstm_loss` is the mean of the LSTMs' losses; `lstm_accuracy` that of their mean logits."""
        labels, combined = batch["targets"], super().per_example(outputs, batch, key)
        nbsvm_loss = cross_entropy(outputs.nbsvm, labels)
        lstm_loss = jax.vmap(cross_entropy, in_axes=(0, None))(outputs.lstms, labels).mean(axis=0)
        return {
            "loss": nbsvm_loss + lstm_loss,
            "accuracy": combined["accuracy"],
            "combined_loss": combined["loss"],
            "nbsvm_loss": nbsvm_loss,
            "nbsvm_accuracy": is_correct(outputs.nbsvm, labels),
            "lstm_loss": lstm_loss,
            "lstm_accuracy": is_correct(outputs.lstms.mean(axis=0), labels),
        }

    def extra_columns(self, outputs: NBSVMAndLSTMLogits, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        return super().extra_columns(outputs, batch, key) | {
            "nbsvm_probabilities": probabilities(outputs.nbsvm),
            "lstm_probabilities": probabilities(outputs.lstms.mean(axis=0)),
        }
