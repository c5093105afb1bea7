"""The loss of language models, and the perplexity of a split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.metrics.language_metrics import Perplexity
from lab10.models.language_model import NextWordLosses
from lab10.tasks.language_modeling import LanguageModeling

KEY = jax.random.key(0)
OUTPUTS = NextWordLosses(
    jnp.array([[1.0, 3.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    jnp.array([[True, True, False], [True, False, False], [False, False, False]]),
)


def test_the_loss_is_the_mean_over_the_words_of_a_text():
    assert LanguageModeling().per_example(OUTPUTS, {}, KEY)["loss"].tolist() == [2.0, 5.0, 0.0]


def test_perplexity_gives_every_word_the_same_weight():
    columns = {name: np.asarray(column) for name, column in LanguageModeling().extra_columns(OUTPUTS, {}, KEY).items()}
    assert columns["words"].tolist() == [2, 1, 0]
    assert Perplexity().compute(columns, ()) == pytest.approx(np.exp(9 / 3))


def test_perplexity_without_words_is_undefined():
    assert np.isnan(Perplexity().compute({"nats": np.zeros(1), "words": np.zeros(1, int)}, ()))
