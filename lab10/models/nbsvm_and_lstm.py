"""NBSVM next to LSTMs: two classifiers that read the same texts in different ways, as one model."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from lab10.config.fields import require_at_least, require_at_most
from lab10.data.dataset import Spec, Split
from lab10.models.naive_bayes import NBSVM, NaiveBayesClassifier, require_ngrams
from lab10.models.text_classifiers import LSTM, LSTMClassifier, num_logits

# More LSTMs at once fit on no device.
MAX_LSTMS = 256


class NBSVMAndLSTMLogits(NamedTuple):
    """The logits of each classifier.

    Attributes:
      nbsvm: float32 [batch, logits].
      lstms: float32 [lstms, batch, logits].
    """

    nbsvm: Float[Array, "batch logits"]
    lstms: Float[Array, "lstms batch logits"]


class NBSVMAndLSTMClassifier(nn.Module):
    """NBSVM on n-grams, and LSTMs on words, which share no parameters.

    Attributes:
      config: the config of the model.
      num_ids: rows of the LSTMs' embeddings, less 1; ids from here on share the last row.
      num_ngrams: number of n-grams.
      num_logits: number of outputs of each classifier.
    """

    config: "NBSVMAndLSTM"
    num_ids: int
    num_ngrams: int
    num_logits: int

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch time channels"], token_weights: Float[Array, "batch time"] | None = None
    ) -> NBSVMAndLSTMLogits:
        """Returns the logits of each classifier.

        Args:
          tokens: ids of words and n-grams, as `TextSpec` describes them.
          token_weights: weight of each word, to measure its effect on the logits; None: 1.
        """
        nbsvm = NaiveBayesClassifier(self.num_ngrams, self.num_logits, name="nbsvm")(tokens, token_weights)
        # `perturbations` is the collection of `Module.perturb`. The LSTMs are its last axis, because adversarial
        # training takes norms over the first and the third.
        lstms = nn.vmap(
            LSTMClassifier,
            in_axes=None,
            axis_size=self.config.num_lstms,
            variable_axes={"params": 0, "perturbations": -1},
            split_rngs={"params": True, "dropout": True},
        )
        words = jnp.minimum(tokens[..., 0], self.num_ids)
        return NBSVMAndLSTMLogits(
            nbsvm, lstms(self.num_ids + 1, self.config, self.num_logits, name="lstms")(words, token_weights)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NBSVMAndLSTM(LSTM):
    """NBSVM on exact n-grams, next to one or several LSTMs. The other fields are those of each LSTM."""

    output_type: ClassVar[str] = "NBSVMAndLSTMLogits"

    num_words: int | None = 30_000
    """Ids at or above this number share one embedding of the LSTMs; None: every word has its own."""
    num_lstms: int = 1
    """LSTMs that differ in their initial parameters and dropout masks; their logits are averaged."""
    smoothing: float = 1.0
    """NBSVM: added to the count of every n-gram in every class, so that no ratio is infinite."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(1, self, "num_words", "num_lstms")
        require_at_most(MAX_LSTMS, self, "num_lstms")
        self._nbsvm()  # checks the smoothing

    def build(self, spec: Spec) -> NBSVMAndLSTMClassifier:  # type: ignore[override]
        texts = require_ngrams(self, spec)
        num_ids = texts.num_ids if self.num_words is None else min(self.num_words, texts.num_ids)
        return NBSVMAndLSTMClassifier(self, num_ids, texts.num_ngrams, num_logits(texts))

    def params_from_data(self, spec: Spec, split: Split) -> dict[str, jax.Array]:
        return {f"nbsvm/{path}": values for path, values in self._nbsvm().params_from_data(spec, split).items()}

    def _nbsvm(self) -> NBSVM:
        return NBSVM(smoothing=self.smoothing)
