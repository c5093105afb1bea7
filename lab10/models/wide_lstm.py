"""An LSTM and a linear classifier of n-grams, trained together (wide and deep, Cheng et al. 2016)."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lab10.config.fields import is_static_zero, require_fraction, traced_field
from lab10.data.dataset import Spec, Split
from lab10.models.naive_bayes import NBSVM, NaiveBayesLinear, require_ngrams, require_smoothing
from lab10.models.text_classifiers import LSTM, LSTMClassifier, num_logits


class WideLSTMClassifier(nn.Module):
    """Adds the logits of an LSTM that reads the words and of a linear classifier of the n-grams.

    Attributes:
      lstm: the part that reads the words.
      linear: the part that reads the n-grams.
    """

    lstm: LSTMClassifier
    linear: NaiveBayesLinear
    part_dropout: float | jax.Array = 0.0

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time channels"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Returns logits, float32, for the word ids and n-gram ids of texts, as `TextSpec` describes them."""
        parts = jnp.stack([self.lstm(tokens[..., 0], token_weights), self.linear(tokens[..., 1:], token_weights)])
        if is_static_zero(self.part_dropout) or not self.has_rng("dropout"):
            return parts.sum(axis=0)
        # One of the parts, each as often as the other, learns alone from a text.
        key_alone, key_part = jax.random.split(self.make_rng("dropout"))
        rows = parts.shape[1]
        alone = jax.random.bernoulli(key_alone, self.part_dropout, (rows, 1))
        part = jax.random.bernoulli(key_part, 0.5, (rows, 1))
        kept = jnp.stack([~alone | part, ~alone | ~part])
        return jnp.where(kept, parts, 0.0).sum(axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WideLSTM(LSTM):
    """An LSTM whose logits are added to those of a linear classifier of exact n-grams, as in NBSVM."""

    smoothing: float = 1.0
    """Added to the count of every n-gram in every class, so that no log-count ratio is infinite."""
    ngram_dropout: float = traced_field(0.0)
    """Fraction of the n-grams that the linear classifier ignores in training."""
    part_dropout: float = traced_field(0.0)
    """Fraction of the texts of a batch from which only the LSTM or only the linear classifier learns."""

    def __post_init__(self):
        super().__post_init__()
        require_smoothing(self.smoothing)
        require_fraction(self, "ngram_dropout", "part_dropout", prefix="model.")

    def build(self, spec: Spec) -> WideLSTMClassifier:  # type: ignore[override]
        texts = require_ngrams(self, spec)
        lstm = LSTMClassifier(texts.num_ids + 1, self, num_logits(texts))
        return WideLSTMClassifier(
            lstm, NaiveBayesLinear(texts.num_ngrams, num_logits(texts), self.ngram_dropout), self.part_dropout
        )

    def params_from_data(self, spec: Spec, split: Split) -> dict[str, jax.Array]:
        return NBSVM(smoothing=self.smoothing).params_from_data(spec, split)
