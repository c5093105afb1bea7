"""The language model: what it predicts from what, and that padding has no effect."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params

from lab10.config.errors import UserError
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.models.language_model import LanguageModel
from lab10.models.text_classifiers import LSTM

SPEC = TextSpec(num_ids=9, class_names=("neg", "pos"))
CONFIG = LanguageModel(embedding_dim=3, hidden_size=4, bidirectional=True, num_candidates=None)
TOKENS = jnp.array([[0, 0, 1, 5, 3], [1, 2, 8, 4, 3]])


@pytest.fixture(scope="module")
def params():
    params = init_params(CONFIG.build(SPEC), SPEC, 0)
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape) / leaf.size, params)


def nats(params, tokens, config=CONFIG, **options):
    return apply(config.build(SPEC), {"params": params}, tokens, **options)


def test_each_word_is_predicted_from_the_words_before_it(params):
    outputs, changed = nats(params, TOKENS), nats(params, TOKENS.at[1, 3].set(7))
    differs = np.asarray(outputs.nats != changed.nats)
    # Forward: words 1 to 4 of the text. Then backward: words 3 to 0.
    assert differs[1].tolist() == [False, False, True, True, True, True, True, True]
    assert not differs[0].any()


def test_nothing_is_predicted_at_padding(params):
    outputs = nats(params, TOKENS)
    assert outputs.mask[0].tolist() == [False, False, True, True, True, True, False, False]
    assert np.all((np.asarray(outputs.nats) > 0) == np.asarray(outputs.mask))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_has_no_effect(params, side):
    text = TOKENS[:1, 2:]
    padded = jnp.pad(text, [(0, 0), (4, 0) if side == "left" else (0, 4)])
    alone, outputs = nats(params, text), nats(params, padded)
    np.testing.assert_allclose(outputs.nats[outputs.mask], alone.nats[alone.mask], rtol=1e-5)


def test_texts_of_one_id_or_none_have_nothing_to_predict(params):
    for tokens in (jnp.array([[1]]), jnp.array([[0, 0, 1], [0, 0, 0]])):
        outputs = nats(params, tokens)
        assert not outputs.mask.any()
        assert not outputs.nats.any()


def test_the_probabilities_of_the_next_word_add_up_to_one(params):
    config = dataclasses.replace(CONFIG, bidirectional=False)
    forward = {name: leaf for name, leaf in params.items() if "backward" not in name}
    rows = jnp.stack([jnp.array([1, 5, word]) for word in range(1, 10)])
    outputs = nats(forward, rows, config)
    unused = 1 - np.exp(-outputs.nats[:, 1]).sum()  # the probability of id 0, padding, which is never predicted
    assert 0 < unused < 0.5


def test_a_sample_of_the_words_is_used_in_training_only(params):
    config = dataclasses.replace(CONFIG, num_candidates=3)
    assert np.array_equal(nats(params, TOKENS, config).nats, nats(params, TOKENS).nats)
    draws = [nats(params, TOKENS, config, rngs={"dropout": jax.random.key(seed)}).nats for seed in range(2)]
    assert not np.array_equal(*draws)
    everything = dataclasses.replace(CONFIG, num_candidates=99)
    trained = nats(params, TOKENS, everything, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(trained.nats, nats(params, TOKENS).nats, rtol=1e-5)


def test_a_classifier_finds_its_embedding_and_lstms(params):
    classifier = init_params(LSTM(embedding_dim=3, hidden_size=4, bidirectional=True).build(SPEC), SPEC, 0)
    shared = {name for name in classifier if name != "dense"}
    assert shared == {"embedding", "lstm", "lstm_backward"}
    shapes = [jax.tree.map(jnp.shape, {name: tree[name] for name in shared}) for tree in (classifier, params)]
    assert shapes[0] == shapes[1]


def test_it_reads_words():
    with pytest.raises(UserError, match="reads texts"):
        CONFIG.build(ImageSpec(height=3, width=4, pixel_max=255))
    with pytest.raises(UserError, match="reads words"):
        CONFIG.build(TextSpec(num_ids=9, max_ngram=2, num_ngrams=5))
    with pytest.raises(UserError, match="num-candidates"):
        LanguageModel(num_candidates=0)
