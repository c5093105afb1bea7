"""Classifiers of texts: the lab's LSTM, and the bag of words that it is measured against."""

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lab10.data.dataset import Spec
from lab10.data.reviews import ReviewSpec
from lab10.data.text import PADDING_ID
from lab10.fields import require_at_least, require_at_most
from lab10.models.lstm import Implementation, MaskedLSTM
from lab10.models.model import WIDEST, Model, require_spec


def keras_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Uniform in ±0.05, Keras's initialiser of embeddings."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


def num_logits(spec: ReviewSpec) -> int:
    """One logit for two classes, else one a class."""
    return 1 if len(spec.class_names) <= 2 else len(spec.class_names)


class LSTMClassifier(nn.Module):
    """Embedding → masked LSTM → logits. Padding is masked, so its amount does not matter.

    Attributes:
      num_embeddings: rows of the embedding; ids lie below.
      embedding_features: width of the embedding.
      hidden: width of the LSTM's state.
      logits: number of outputs.
      dtype: of the computation.
      implementation: of the LSTM.
    """

    num_embeddings: int
    embedding_features: int
    hidden: int
    logits: int
    dtype: jnp.dtype = jnp.dtype("float32")
    implementation: Implementation = "fused"

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], presence: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Reads rows of ids, in which `PADDING_ID` is no token; returns logits, float32.

        Args:
          tokens: the ids.
          presence: what each token's embedding is multiplied by, where it is asked which tokens matter; None: 1.
        """
        embedding = nn.Embed(
            self.num_embeddings, self.embedding_features, self.dtype, embedding_init=keras_uniform, name="embedding"
        )
        tokens = tokens.T  # time first, before the embedding makes it large
        embedded = embedding(tokens)
        if presence is not None:
            embedded = embedded * presence.T[..., None].astype(embedded.dtype)
        lstm = MaskedLSTM(self.hidden, self.dtype, self.implementation, name="lstm")
        (_, hidden), _ = lstm(embedded, tokens != PADDING_ID)
        dense = nn.Dense(self.logits, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform(), name="dense")
        return dense(hidden).astype(jnp.float32)


class BagOfWordsClassifier(nn.Module):
    """Which words occur (multi-hot) → dense layers → logits. Neither order nor repetition counts.

    Attributes:
      num_ids: width of the multi-hot vector.
      widths: of the hidden layers, ReLU; () makes it logistic regression.
      logits: number of outputs.
      dtype: of the computation.
    """

    num_ids: int
    widths: tuple[int, ...]
    logits: int
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], presence: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Reads rows of ids, in which `PADDING_ID` is no token; returns logits, float32.

        Args:
          tokens: the ids.
          presence: how far each token is there, where it is asked which tokens matter; None: 1.
        """
        x = multi_hot(tokens, self.num_ids, presence).astype(self.dtype)
        for place, width in enumerate(self.widths):
            x = nn.relu(
                nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform(), name=f"dense_{place}")(
                    x
                )
            )
        dense = nn.Dense(self.logits, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform(), name="dense")
        return dense(x).astype(jnp.float32)


def multi_hot(
    tokens: Int[Array, "batch time"], num_ids: int, presence: Float[Array, "batch time"] | None = None
) -> Float[Array, "batch num_ids"]:
    """1 in the columns of the ids that a row holds, 0 elsewhere; padding has no column set.

    With `presence`, the mean presence of the tokens that have the id takes the place of the 1.
    """
    rows = jnp.arange(tokens.shape[0])[:, None]
    blank = jnp.zeros((tokens.shape[0], num_ids))
    if presence is None:
        columns = blank.at[rows, tokens].set(1.0)
    else:
        columns = blank.at[rows, tokens].add(presence / blank.at[rows, tokens].add(1.0)[rows, tokens])
    return columns.at[:, PADDING_ID].set(0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTM(Model):
    """The lab's: `layer_embedding(10001, 64, mask_zero = TRUE), layer_lstm(32), layer_dense(1)`: 652,513 parameters."""

    gives: ClassVar[Literal["logits", "pixels"]] = "logits"

    embedding_features: int = 64
    """Width of the embedding."""
    hidden: int = 32
    """Width of the LSTM's state."""
    implementation: Implementation = "fused"
    """Of the LSTM: reference is the plain scan that the fast one is tested against."""

    def __post_init__(self):
        require_at_least(1, self, "embedding_features", "hidden", prefix="model.")
        require_at_most(WIDEST, self, "embedding_features", "hidden", prefix="model.")

    def build(self, spec: Spec) -> LSTMClassifier:
        reviews = require_spec(self, spec, ReviewSpec)
        # The lab's embedding has one row more than there are ids; so has this one, to compare parameter by parameter.
        return LSTMClassifier(
            reviews.num_ids + 1,
            self.embedding_features,
            self.hidden,
            num_logits(reviews),
            self.compute_dtype(),
            self.implementation,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BagOfWords(Model):
    """A multi-hot vector and dense layers."""

    gives: ClassVar[Literal["logits", "pixels"]] = "logits"

    widths: tuple[int, ...] = (16,)
    """Of the hidden layers, ReLU; none makes it logistic regression."""

    def __post_init__(self):
        require_at_least(1, self, "widths", prefix="model.")
        require_at_most(WIDEST, self, "widths", prefix="model.")

    def build(self, spec: Spec) -> BagOfWordsClassifier:
        reviews = require_spec(self, spec, ReviewSpec)
        return BagOfWordsClassifier(reviews.num_ids, self.widths, num_logits(reviews), self.compute_dtype())
