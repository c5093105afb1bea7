"""Text classifiers: the lab's LSTM, and a bag of words as the baseline."""

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from lab10.config.errors import UserError
from lab10.config.fields import (
    is_static_zero,
    require_at_least,
    require_at_most,
    require_between,
    require_fraction,
    traced_field,
)
from lab10.data.dataset import Spec
from lab10.data.texts import TextSpec
from lab10.data.tokenizer import PADDING_ID
from lab10.models.dropout import Dropout
from lab10.models.lstm import Implementation, MaskedLSTM, read_both_ways
from lab10.models.model import MAX_WIDTH, Model, require_spec
from lab10.models.ngrams import MAX_NGRAM, MAX_NGRAM_BUCKETS, ngram_buckets, ngram_weights


def keras_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Samples uniformly from [-0.05, 0.05), as Keras's initializer of embeddings."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


def require_unigrams(model: Model, spec: Spec) -> TextSpec:
    """Returns the spec, checked to describe texts as rows of word ids alone.

    Raises:
      UserError: the examples are not texts, or their inputs also hold n-grams.
    """
    texts = require_spec(model, spec, TextSpec)
    if texts.max_ngram > 1:
        raise UserError(
            f"The model {type(model).__name__} reads words, but --data.max-ngram is {texts.max_ngram}; expected 1. "
            "NBSVM reads exact n-grams."
        )
    return texts


def num_logits(spec: TextSpec) -> int:
    """Returns the number of logits: one for two classes, otherwise one per class.

    Raises:
      UserError: the dataset has fewer than two classes.
    """
    if len(spec.class_names) < 2:
        classes = f"only the class {spec.class_names[0]}" if spec.class_names else "no class labels"
        raise UserError(
            f"The dataset has {classes}; expected at least two classes for classification.\n"
            "Name the feature that holds the labels with --data.label-feature: class names, booleans or whole numbers."
        )
    return 1 if len(spec.class_names) == 2 else len(spec.class_names)


class LSTMClassifier(nn.Module):
    """Embedding → masked LSTM → pooling over time → logits. Padding is masked and has no effect.

    Dropout is active if `apply` has an rng named `dropout`.

    Attributes:
      num_ids: rows of the embedding; all ids are below.
      config: the config of the model.
      num_logits: number of outputs.
    """

    num_ids: int
    config: "LSTM"
    num_logits: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Returns logits, float32, for rows of ids; `PADDING_ID` is not a token.

        Args:
          tokens: ids of the words.
          token_weights: factor of each token's embedding, to measure its effect on the logits; None: 1.
        """
        config, dtype = self.config, self.config.compute_dtype()
        mask = (tokens != PADDING_ID).T  # time is the first dimension from here on
        embedded = [self._embed("embedding", self.num_ids, config.embedding_dim, tokens, token_weights)]
        for length in range(2, config.max_ngram + 1):
            buckets, complete = ngram_buckets(tokens, length, config.ngram_buckets)
            weights = ngram_weights(complete, length, token_weights)
            embedded.append(
                self._embed(f"embedding_{length}", config.ngram_buckets, config.ngram_dim, buckets, weights)
            )
        features = self.perturb("features", jnp.concatenate(embedded, axis=-1))
        # Broadcast along time: the same mask at every step.
        features = Dropout(config.input_dropout, broadcast=(0,) if config.shared_dropout_mask else ())(features)
        forward = MaskedLSTM(config.hidden_size, dtype, config.implementation, name="lstm")
        if config.bidirectional:
            backward = MaskedLSTM(config.hidden_size, dtype, config.implementation, name="lstm_backward")
            both_ways = read_both_ways(forward, backward, features, mask)
            last = jnp.concatenate([hidden for (_, hidden), _ in both_ways], axis=-1)
            states = jnp.concatenate([states for _, states in both_ways], axis=-1)
        else:
            (_, last), states = forward(features, mask)
        if config.pooling == "concat":
            pooled = jnp.concatenate([last, pool(states, mask, "max"), pool(states, mask, "mean")], axis=-1)
        else:
            pooled = last if config.pooling == "last" else pool(states, mask, config.pooling)
        dense = nn.Dense(self.num_logits, dtype=dtype, kernel_init=nn.initializers.glorot_uniform(), name="dense")
        return dense(Dropout(config.output_dropout)(pooled)).astype(jnp.float32)

    def _embed(
        self,
        name: str,
        rows: int,
        width: int,
        ids: Int[Array, "batch time"],
        token_weights: Float[Array, "batch time"] | None,
    ) -> Float[Array, "time batch features"]:
        """Embeds ids. Dropout zeroes rows of the embedding, so a dropped id is dropped everywhere in the batch."""
        embedding = nn.Embed(rows, width, self.config.compute_dtype(), embedding_init=keras_uniform, name=name)
        ids = ids.T  # transposing the ids is cheaper than transposing their embeddings
        embedded = embedding(ids)
        if token_weights is not None:
            embedded = embedded * token_weights.T[..., None].astype(embedded.dtype)
        if not is_static_zero(self.config.embedding_dropout):
            kept = Dropout(self.config.embedding_dropout)(jnp.ones(rows, embedded.dtype))
            embedded = embedded * kept[ids][..., None]
        return embedded


def pool(
    states: Float[Array, "time batch features"], mask: Bool[Array, "time batch"], pooling: Literal["max", "mean"]
) -> Float[Array, "batch features"]:
    """Returns the maximum or the mean of each feature over the steps of the mask; zeros for rows without steps."""
    is_step = mask[..., None]
    if pooling == "mean":
        return jnp.sum(jnp.where(is_step, states, 0), axis=0) / jnp.maximum(jnp.sum(is_step, axis=0), 1)
    largest = jnp.max(jnp.where(is_step, states, -jnp.inf), axis=0)
    return jnp.where(jnp.any(is_step, axis=0), largest, 0)


class BagOfWordsClassifier(nn.Module):
    """Multi-hot vector of words → dense layers → logits. Order and repetition have no effect.

    Attributes:
      num_ids: width of the multi-hot vector.
      widths: widths of the hidden layers, ReLU; () is logistic regression.
      num_logits: number of outputs.
      dtype: dtype of the computation.
    """

    num_ids: int
    widths: tuple[int, ...]
    num_logits: int
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time"], token_weights: Float[Array, "batch time"] | None = None
    ) -> Float[Array, "batch logits"]:
        """Returns logits, float32, for rows of ids; `PADDING_ID` is not a token.

        Args:
          tokens: ids of the words.
          token_weights: weight of each token, to measure its effect on the logits; None: 1.
        """
        x = multi_hot(tokens, self.num_ids, token_weights).astype(self.dtype)
        glorot = nn.initializers.glorot_uniform()
        for layer, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, dtype=self.dtype, kernel_init=glorot, name=f"dense_{layer}")(x))
        dense = nn.Dense(self.num_logits, dtype=self.dtype, kernel_init=glorot, name="dense")
        return dense(x).astype(jnp.float32)


def multi_hot(
    tokens: Int[Array, "batch time"], num_ids: int, token_weights: Float[Array, "batch time"] | None = None
) -> Float[Array, "batch num_ids"]:
    """Returns 1 in the columns of the ids that occur in a row and 0 elsewhere; the column of padding is 0.

    With `token_weights`, an id's column contains the mean weight of the tokens with this id instead of 1.
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
    """LSTM classifier. The defaults are the lab's model, with 652,513 parameters.

    In R: `layer_embedding(10001, 64, mask_zero = TRUE), layer_lstm(32), layer_dense(1)`.
    """

    output_type: ClassVar[str] = "logits"

    embedding_dim: int = 64
    """Size of the word embeddings."""
    hidden_size: int = 32
    """Size of the LSTM's state, in each direction."""
    max_ngram: int = 1
    """Number of words in the longest n-gram. Each n-gram has an embedding next to its last word's; 1: only words."""
    ngram_dim: int = 16
    """Width of the embedding of n-grams, per n-gram length."""
    ngram_buckets: int = 2**18
    """Rows of the embedding of n-grams, per n-gram length; n-grams with the same hash share a row."""
    bidirectional: bool = False
    """Add a second LSTM that reads backwards (Graves and Schmidhuber 2005)."""
    pooling: Literal["last", "max", "mean", "concat"] = "last"
    """Pooling of the states: max as in Johnson and Zhang 2016; concat is all three, as in Howard and Ruder 2018."""
    embedding_dropout: float = traced_field(0.0)
    """Fraction of the words that are dropped in training, everywhere in a batch (Gal and Ghahramani 2016)."""
    input_dropout: float = traced_field(0.0)
    """Fraction of the LSTM's inputs that are set to zero in training."""
    shared_dropout_mask: bool = True
    """Use the same input dropout mask at every time step of a text (Gal and Ghahramani 2016)."""
    output_dropout: float = traced_field(0.0)
    """Fraction of the pooled features that are set to zero in training."""
    implementation: Implementation = "auto"
    """Implementation of the LSTM: fused, auto (fused, and one kernel on GPUs and TPUs) or reference (a plain scan)."""

    def __post_init__(self):
        widths = ("embedding_dim", "ngram_dim", "hidden_size")
        require_at_least(1, self, *widths, "max_ngram", "ngram_buckets")
        require_at_most(MAX_WIDTH, self, *widths)
        require_at_most(MAX_NGRAM, self, "max_ngram")
        require_at_most(MAX_NGRAM_BUCKETS, self, "ngram_buckets")
        require_fraction(self, "embedding_dropout", "input_dropout", "output_dropout")

    def build(self, spec: Spec) -> LSTMClassifier:
        texts = require_unigrams(self, spec)
        # Like the lab's, the embedding has one row more than ids, so that the numbers of parameters agree.
        return LSTMClassifier(texts.num_ids + 1, self, num_logits(texts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BagOfWords(Model):
    """Dense layers on a multi-hot vector of words."""

    output_type: ClassVar[str] = "logits"

    widths: tuple[int, ...] = (16,)
    """Widths of the hidden layers, ReLU; empty is logistic regression."""

    def __post_init__(self):
        require_between(1, MAX_WIDTH, self, "widths")

    def build(self, spec: Spec) -> BagOfWordsClassifier:
        texts = require_unigrams(self, spec)
        return BagOfWordsClassifier(texts.num_ids, self.widths, num_logits(texts), self.compute_dtype())
