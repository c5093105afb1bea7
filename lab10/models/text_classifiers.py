"""Text classifiers: the lab's LSTM, and the bag of words it is compared with."""

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from lab10.config.fields import is_static_zero, require_at_least, require_at_most, require_fraction, traced_field
from lab10.data.dataset import Spec
from lab10.data.texts import TextSpec
from lab10.data.tokenizer import PADDING_ID
from lab10.models.dropout import Dropout
from lab10.models.lstm import Implementation, MaskedLSTM
from lab10.models.model import MAX_WIDTH, Model, require_spec
from lab10.models.ngrams import MAX_NGRAM, MAX_NGRAM_BUCKETS, ngram_buckets, ngram_weights


def keras_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Uniform in ±0.05, Keras's initialiser of embeddings."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


def num_logits(spec: TextSpec) -> int:
    """One logit for two classes, else one a class."""
    return 1 if len(spec.class_names) <= 2 else len(spec.class_names)


class LSTMClassifier(nn.Module):
    """Embedding → masked LSTM → pooling over time → logits. Padding is masked, so its amount does not matter.

    Dropout is on where `apply` is given an rng named `dropout`.

    Attributes:
      num_embeddings: rows of the embedding; ids lie below.
      config: widths and choices.
      logits: number of outputs.
    """

    num_embeddings: int
    config: "LSTM"
    logits: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Reads rows of ids, in which `PADDING_ID` is no token; returns logits, float32.

        Args:
          tokens: the ids.
          token_weights: what each token's embedding is multiplied by, where it is asked which tokens matter; None: 1.
        """
        config, dtype = self.config, self.config.compute_dtype()
        mask = (tokens != PADDING_ID).T  # time comes first in all that follows
        embedded = [self._embed("embedding", self.num_embeddings, config.embedding_dim, tokens, token_weights)]
        for length in range(2, config.max_ngram + 1):
            buckets, complete = ngram_buckets(tokens, length, config.ngram_buckets)
            there = ngram_weights(complete, length, token_weights)
            embedded.append(self._embed(f"embedding_{length}", config.ngram_buckets, config.ngram_dim, buckets, there))
        features = self.perturb("features", jnp.concatenate(embedded, axis=-1))
        # Time is the first dimension: a mask that is broadcast along it is the same at every step.
        features = self._dropout(features, config.input_dropout, broadcast=(0,) if config.shared_dropout_mask else ())
        forward = MaskedLSTM(config.hidden_size, dtype, config.implementation, name="lstm")
        (_, last), states = forward(features, mask)
        if config.bidirectional:
            backward = MaskedLSTM(config.hidden_size, dtype, config.implementation, name="lstm_backward")
            (_, last_backward), states_backward = backward(features[::-1], mask[::-1])
            last = jnp.concatenate([last, last_backward], axis=-1)
            states = jnp.concatenate([states, states_backward[::-1]], axis=-1)
        if config.pooling == "concat":
            pooled = jnp.concatenate([last, pool(states, mask, "max"), pool(states, mask, "mean")], axis=-1)
        else:
            pooled = last if config.pooling == "last" else pool(states, mask, config.pooling)
        dense = nn.Dense(self.logits, dtype=dtype, kernel_init=nn.initializers.glorot_uniform(), name="dense")
        return dense(self._dropout(pooled, config.output_dropout)).astype(jnp.float32)

    def _dropout(self, x: jax.Array, rate: float | jax.Array, broadcast: tuple[int, ...] = ()) -> jax.Array:
        return Dropout(rate, broadcast)(x)

    def _embed(
        self,
        name: str,
        rows: int,
        width: int,
        ids: Int[Array, "batch time"],
        token_weights: Float[Array, "batch time"] | None,
    ) -> Float[Array, "time batch features"]:
        """Embedded ids; dropout takes rows of the embedding, so that an id is gone wherever it stands in the batch."""
        embedding = nn.Embed(rows, width, self.config.compute_dtype(), embedding_init=keras_uniform, name=name)
        ids = ids.T  # before the embedding makes them large
        embedded = embedding(ids)
        if token_weights is not None:
            embedded = embedded * token_weights.T[..., None].astype(embedded.dtype)
        if not is_static_zero(self.config.embedding_dropout):
            kept = self._dropout(jnp.ones(rows, embedded.dtype), self.config.embedding_dropout)
            embedded = embedded * kept[ids][..., None]
        return embedded


def pool(
    states: Float[Array, "time batch features"], mask: Bool[Array, "time batch"], how: Literal["max", "mean"]
) -> Float[Array, "batch features"]:
    """The largest or the mean of each feature over the steps of the mask; zeros where there is none."""
    kept = mask[..., None]
    if how == "mean":
        return jnp.sum(jnp.where(kept, states, 0), axis=0) / jnp.maximum(jnp.sum(kept, axis=0), 1)
    largest = jnp.max(jnp.where(kept, states, -jnp.inf), axis=0)
    return jnp.where(jnp.any(kept, axis=0), largest, 0)


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
        self, tokens: Int[Array, "batch time"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Reads rows of ids, in which `PADDING_ID` is no token; returns logits, float32.

        Args:
          tokens: the ids.
          token_weights: how far each token is there, where it is asked which tokens matter; None: 1.
        """
        x = multi_hot(tokens, self.num_ids, token_weights).astype(self.dtype)
        for i, width in enumerate(self.widths):
            x = nn.relu(
                nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform(), name=f"dense_{i}")(x)
            )
        dense = nn.Dense(self.logits, dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform(), name="dense")
        return dense(x).astype(jnp.float32)


def multi_hot(
    tokens: Int[Array, "batch time"], num_ids: int, token_weights: Float[Array, "batch time"] | None = None
) -> Float[Array, "batch num_ids"]:
    """1 in the columns of the ids that a row holds, 0 elsewhere; padding has no column set.

    With `token_weights`, the mean token_weights of the tokens that have the id takes the place of the 1.
    """
    rows = jnp.arange(tokens.shape[0])[:, None]
    blank = jnp.zeros((tokens.shape[0], num_ids))
    if token_weights is None:
        columns = blank.at[rows, tokens].set(1.0)
    else:
        columns = blank.at[rows, tokens].add(token_weights / blank.at[rows, tokens].add(1.0)[rows, tokens])
    return columns.at[:, PADDING_ID].set(0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LSTM(Model):
    """The lab's: `layer_embedding(10001, 64, mask_zero = TRUE), layer_lstm(32), layer_dense(1)`: 652,513 parameters."""

    output_type: ClassVar[Literal["logits", "pixels"]] = "logits"

    embedding_dim: int = 64
    """Size of the word embeddings."""
    hidden_size: int = 32
    """Size of the LSTM's state, in each direction."""
    max_ngram: int = 1
    """Longest n-gram with an embedding of its own at each position; 1: words alone."""
    ngram_dim: int = 16
    """Size of the n-gram embeddings, for each length."""
    ngram_buckets: int = 2**18
    """Rows of the n-gram embeddings, which n-grams share by their hash."""
    bidirectional: bool = False
    """Whether a second LSTM reads the text backwards (Graves and Schmidhuber 2005)."""
    pooling: Literal["last", "max", "mean", "concat"] = "last"
    """Pooling over time: max as in Johnson and Zhang 2016; concat of all three as in Howard and Ruder 2018."""
    embedding_dropout: float = traced_field(0.0)
    """Dropout rate of words, each at all its positions in a batch (Gal and Ghahramani 2016)."""
    input_dropout: float = traced_field(0.0)
    """Dropout rate of the LSTM's inputs."""
    shared_dropout_mask: bool = True
    """Whether input dropout uses the same mask at every time step (Gal and Ghahramani 2016)."""
    output_dropout: float = traced_field(0.0)
    """Dropout rate of the pooled features."""
    implementation: Implementation = "fused"
    """Implementation of the LSTM; reference is the plain scan that fused is tested against."""

    def __post_init__(self):
        widths = ("embedding_dim", "ngram_dim", "hidden_size")
        require_at_least(1, self, *widths, "max_ngram", "ngram_buckets", prefix="model.")
        require_at_most(MAX_WIDTH, self, *widths, prefix="model.")
        require_at_most(MAX_NGRAM, self, "max_ngram", prefix="model.")
        require_at_most(MAX_NGRAM_BUCKETS, self, "ngram_buckets", prefix="model.")
        require_fraction(self, "embedding_dropout", "input_dropout", "output_dropout", prefix="model.")

    def build(self, spec: Spec) -> LSTMClassifier:
        texts = require_spec(self, spec, TextSpec)
        # The lab's embedding has one row more than there are ids; so has this one, to compare parameter by parameter.
        return LSTMClassifier(texts.num_ids + 1, self, num_logits(texts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BagOfWords(Model):
    """A multi-hot vector and dense layers."""

    output_type: ClassVar[Literal["logits", "pixels"]] = "logits"

    widths: tuple[int, ...] = (16,)
    """Widths of the hidden layers (ReLU); none: logistic regression."""

    def __post_init__(self):
        require_at_least(1, self, "widths", prefix="model.")
        require_at_most(MAX_WIDTH, self, "widths", prefix="model.")

    def build(self, spec: Spec) -> BagOfWordsClassifier:
        texts = require_spec(self, spec, TextSpec)
        return BagOfWordsClassifier(texts.num_ids, self.widths, num_logits(texts), self.compute_dtype())
