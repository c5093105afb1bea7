"""A text classifier on words and n-grams: the strongest model without recurrence."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lab10.config.fields import require_at_least, require_at_most, require_fraction, traced_field
from lab10.data.dataset import Spec
from lab10.models.dropout import Dropout
from lab10.models.model import MAX_WIDTH, Model
from lab10.models.ngrams import MAX_NGRAM, MAX_NGRAM_BUCKETS, ngram_buckets, ngram_weights
from lab10.models.text_classifiers import keras_uniform, num_logits, require_unigrams


class BagOfNgramsClassifier(nn.Module):
    """Maps the mean embedding of all n-grams to logits (fastText, Joulin et al. 2017).

    Attributes:
      config: the config of the model.
      num_logits: number of outputs.
    """

    config: "BagOfNgrams"
    num_logits: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Returns logits, float32, for rows of ids; `PADDING_ID` is not a token.

        Args:
          tokens: ids of the words.
          token_weights: weight of each token, to measure its effect on the logits; None: 1.
        """
        config, dtype = self.config, self.config.compute_dtype()
        embedding = nn.Embed(
            config.buckets, config.embedding_dim, dtype, embedding_init=keras_uniform, name="embedding"
        )
        total, count = jnp.zeros((len(tokens), config.embedding_dim)), jnp.zeros((len(tokens), 1))
        for length in range(1, config.max_ngram + 1):
            buckets, complete = ngram_buckets(tokens, length, config.buckets)
            weights = ngram_weights(complete, length, token_weights)
            total += jnp.einsum("bt,btf->bf", weights, embedding(buckets).astype(jnp.float32))
            count += jnp.sum(complete, axis=1, keepdims=True)
        mean = Dropout(config.dropout)((total / jnp.maximum(count, 1)).astype(dtype))
        dense = nn.Dense(self.num_logits, dtype=dtype, kernel_init=nn.initializers.glorot_uniform(), name="dense")
        return dense(mean).astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BagOfNgrams(Model):
    """Words and n-grams, hashed into buckets. Word order matters only within an n-gram."""

    output_type: ClassVar[str] = "logits"

    max_ngram: int = 2
    """Number of words in the longest n-gram; 1: only words."""
    buckets: int = 2**18
    """Rows of the embedding; n-grams with the same hash share a row."""
    embedding_dim: int = 16
    """Size of the embeddings."""
    dropout: float = traced_field(0.0)
    """Fraction of the mean's features that are set to zero in training."""

    def __post_init__(self):
        require_at_least(1, self, "max_ngram", "buckets", "embedding_dim")
        require_at_most(MAX_NGRAM, self, "max_ngram")
        require_at_most(MAX_NGRAM_BUCKETS, self, "buckets")
        require_at_most(MAX_WIDTH, self, "embedding_dim")
        require_fraction(self, "dropout")

    def build(self, spec: Spec) -> BagOfNgramsClassifier:
        return BagOfNgramsClassifier(self, num_logits(require_unigrams(self, spec)))
