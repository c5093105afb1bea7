"""An LSTM language model: the probability of each next word of a text (Mikolov et al. 2010, Dai and Le 2015)."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lab10.config.fields import require_between, require_fraction, traced_field
from lab10.data.dataset import Spec
from lab10.data.tokenizer import PADDING_ID
from lab10.models.dropout import Dropout
from lab10.models.lstm import Implementation, MaskedLSTM, read_both_ways
from lab10.models.model import MAX_WIDTH, Model
from lab10.models.sampled_softmax import cross_entropy, sampled_cross_entropy
from lab10.models.text_classifiers import keras_uniform, require_unigrams


class NextWordLosses(NamedTuple):
    """How well a language model predicts the words of a batch of texts.

    Attributes:
      nats: -log p(word | words before it), float32 [batch, predictions]; 0 where there is nothing to predict.
      mask: where there is a word to predict, bool [batch, predictions].
    """

    nats: Float[Array, "batch predictions"]
    mask: Bool[Array, "batch predictions"]


class LSTMLanguageModel(nn.Module):
    """Embedding → masked LSTM → projection → logits by the same embedding (Press and Wolf 2017).

    The LSTM reads every text from its first word to its last with one carry, and the gradient passes through all of it.
    The embedding and the LSTMs have the paths and shapes of `LSTMClassifier`'s, so that a classifier can start from
    them with --init-from. In training, where `apply` has an rng named `dropout`, the cross-entropy is estimated from
    `num_candidates` words.

    Attributes:
      num_ids: rows of the embedding; all ids are below.
      config: the config of the model.
    """

    num_ids: int
    config: "LanguageModel"

    @nn.compact
    def __call__(self, tokens: Int[Array, "batch time"]) -> NextWordLosses:
        """Predicts each id of rows from those before it; `PADDING_ID` is not a token.

        A bidirectional model also predicts each id from those after it, so it has twice the predictions.
        """
        config, dtype = self.config, self.config.compute_dtype()
        embedding = nn.Embed(self.num_ids, config.embedding_dim, dtype, embedding_init=keras_uniform, name="embedding")
        bias = self.param("bias", nn.initializers.zeros, (self.num_ids,))
        ids = tokens.T  # time is the first dimension from here on
        features = Dropout(config.input_dropout, broadcast=(0,))(embedding(ids))
        forward = MaskedLSTM(config.hidden_size, dtype, config.implementation, name="lstm")
        if config.bidirectional:
            backward = MaskedLSTM(config.hidden_size, dtype, config.implementation, name="lstm_backward")
            (_, states), (_, backward_states) = read_both_ways(forward, backward, features, ids != PADDING_ID)
            directions = [("", ids, states), ("_backward", ids[::-1], backward_states[::-1])]
        else:
            directions = [("", ids, forward(features, ids != PADDING_ID)[1])]
        predictions: list[NextWordLosses] = []
        for suffix, read, states in directions:
            states = Dropout(config.output_dropout, broadcast=(0,))(states)
            projected = nn.Dense(config.embedding_dim, dtype=dtype, name=f"projection{suffix}")(states[:-1])
            mask = (read[:-1] != PADDING_ID) & (read[1:] != PADDING_ID)
            nats = self._cross_entropy(projected, read[1:], embedding.embedding, bias)
            predictions.append(NextWordLosses(jnp.where(mask, nats, 0).T, mask.T))
        return NextWordLosses(*(jnp.concatenate(parts, axis=1) for parts in zip(*predictions, strict=True)))

    def _cross_entropy(self, states: jax.Array, targets: jax.Array, table: jax.Array, bias: jax.Array) -> jax.Array:
        num_candidates = self.config.num_candidates
        if num_candidates is None or num_candidates >= self.num_ids or not self.has_rng("dropout"):
            return cross_entropy(states, targets, table, bias)
        return sampled_cross_entropy(states, targets, table, bias, num_candidates, self.make_rng("dropout"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageModel(Model):
    """An LSTM that predicts each next word of a text."""

    output_type: ClassVar[str] = "NextWordLosses"

    embedding_dim: int = 256
    """Size of the word embeddings, which are also the weights of the output."""
    hidden_size: int = 512
    """Size of the LSTM's state, in each direction."""
    bidirectional: bool = False
    """Add a second LSTM that reads backwards and predicts the word before."""
    input_dropout: float = traced_field(0.0)
    """Fraction of the LSTM's inputs that are set to zero in training, the same at every time step of a text."""
    output_dropout: float = traced_field(0.0)
    """Fraction of the LSTM's states that are set to zero in training, the same at every time step of a text."""
    num_candidates: int | None = 2048
    """Words that each word is compared with in training (Jean et al. 2015); None, and in evaluation: all words."""
    implementation: Implementation = "auto"
    """Implementation of the LSTM: fused, auto (fused, and one kernel on GPUs and TPUs) or reference (a plain scan)."""

    def __post_init__(self):
        require_between(1, MAX_WIDTH, self, "embedding_dim", "hidden_size", "num_candidates")
        require_fraction(self, "input_dropout", "output_dropout")

    def build(self, spec: Spec) -> LSTMLanguageModel:
        # As many rows as LSTMClassifier has, so that it can take the embedding.
        return LSTMLanguageModel(require_unigrams(self, spec).num_ids + 1, self)
