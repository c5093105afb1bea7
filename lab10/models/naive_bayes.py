"""Linear classifiers of n-grams that are weighted by their log-count ratio (NBSVM, Wang and Manning 2012)."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lab10.config.errors import UserError
from lab10.config.fields import require_fraction, traced_field
from lab10.data.dataset import Spec, Split
from lab10.data.texts import TextSpec
from lab10.models.dropout import Dropout
from lab10.models.model import Model, require_spec
from lab10.models.ngrams import ngram_windows
from lab10.models.text_classifiers import num_logits

# Texts whose n-grams are counted at a time.
CHUNK_SIZE = 1000


class NaiveBayesClassifier(nn.Module):
    """Adds up weight × log-count ratio over the distinct n-grams of a text.

    The log-count ratios are parameters that no gradient reaches: `log_count_ratios` computes them from the train split.

    Attributes:
      num_ngrams: number of n-grams; their ids are 1 to `num_ngrams`.
      num_logits: number of outputs.
      dropout: fraction of the n-grams that are ignored if `apply` has an rng named `dropout`.
    """

    num_ngrams: int
    num_logits: int
    dropout: float | jax.Array = 0.0

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time channels"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Returns logits, float32.

        Args:
          tokens: ids of words and n-grams, as `TextSpec` describes them; the ids of words are not read.
          token_weights: weight of each word, to measure its effect on the logits; an n-gram has the product of its
            words' weights. None: 1.
        """
        ngrams, shape = tokens[..., 1:], (self.num_ngrams + 1, self.num_logits)
        ratios = jax.lax.stop_gradient(self.param("log_count_ratios", nn.initializers.zeros, shape))
        weights = self.param("weights", nn.initializers.zeros, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.num_logits,))
        contributions = Dropout(self.dropout)((ratios * weights)[ngrams])
        if token_weights is not None:
            lengths = range(1, ngrams.shape[-1] + 1)
            factors = [jnp.prod(ngram_windows(token_weights, length), axis=0) for length in lengths]
            contributions *= jnp.stack(factors, axis=-1)[..., None]
        return contributions.sum(axis=(1, 2)) + bias[None]


def log_count_ratios(
    split: Split, num_ngrams: int, num_logits: int, smoothing: float
) -> Float[np.ndarray, "ngrams logits"]:
    """Returns the log-count ratio of each n-gram, float32; 0 for id 0 (Wang and Manning 2012, section 2).

    It compares how often an n-gram is in texts of a class and in texts of all other classes. With one logit, the class
    is the second of two.

    Args:
      split: the texts, with labels.
      num_ngrams: number of n-grams.
      num_logits: number of logits.
      smoothing: added to each count (α there).
    """
    classes = range(1, 2) if num_logits == 1 else range(num_logits)
    counts = np.full((2, len(classes), num_ngrams + 1), smoothing)
    for start in range(0, len(split), CHUNK_SIZE):
        batch = split.batch(np.arange(start, min(start + CHUNK_SIZE, len(split))))
        for column, label in enumerate(classes):
            for is_class in (False, True):
                ngrams = batch["inputs"][(batch["labels"] == label) == is_class][..., 1:]
                counts[int(is_class), column] += np.bincount(ngrams.ravel(), minlength=num_ngrams + 1)
    counts[..., 0] = 1
    log_frequency = np.log(counts / counts[..., 1:].sum(axis=-1, keepdims=True))
    ratios = log_frequency[1] - log_frequency[0]
    ratios[:, 0] = 0
    return ratios.T.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NBSVM(Model):
    """A linear classifier of exact n-grams, weighted by their log-count ratio (Wang and Manning 2012)."""

    output_type: ClassVar[str] = "logits"

    smoothing: float = 1.0
    """Added to the count of every n-gram in every class, so that no ratio is infinite."""
    dropout: float = traced_field(0.0)
    """Fraction of the n-grams that are ignored in training."""

    def __post_init__(self):
        if not 0 < self.smoothing < math.inf:
            raise UserError(f"--model.smoothing is {self.smoothing}; expected a finite value above 0.")
        require_fraction(self, "dropout")

    def build(self, spec: Spec) -> NaiveBayesClassifier:
        texts = require_ngrams(self, spec)
        return NaiveBayesClassifier(texts.num_ngrams, num_logits(texts), self.dropout)

    def params_from_data(self, spec: Spec, split: Split) -> dict[str, jax.Array]:
        texts = require_ngrams(self, spec)
        ratios = log_count_ratios(split, texts.num_ngrams, num_logits(texts), self.smoothing)
        return {"log_count_ratios": jnp.asarray(ratios)}


def require_ngrams(model: Model, spec: Spec) -> TextSpec:
    """Returns the spec, checked to describe texts with ids of n-grams.

    Raises:
      UserError: the examples are not texts, or have only ids of words.
    """
    texts = require_spec(model, spec, TextSpec)
    if texts.max_ngram == 1:
        raise UserError(f"The model {type(model).__name__} reads n-grams, so --data.max-ngram must be at least 2.")
    return texts
