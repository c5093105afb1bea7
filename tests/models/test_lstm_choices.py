"""Options of the LSTM classifier: both directions, pooling over time, dropout of words, inputs and outputs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lab10.config.errors import UserError
from lab10.data.texts import TextSpec
from lab10.models.lstm import MaskedLSTM
from lab10.models.ngrams import ngram_buckets
from lab10.models.text_classifiers import LSTM, pool

SPEC = TextSpec(num_ids=40, class_names=("neg", "pos"))
SMALL = LSTM(embedding_dim=8, hidden_size=6)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(1, 40, (4, 12)), jnp.int32)

floats = st.floats(-3, 3, width=32)


def params_of(model, seed=0):
    """With an embedding of ordinary size, so that what is read shows."""
    params = init_params(model.build(SPEC), SPEC, seed)
    params["embedding"]["embedding"] = 20 * params["embedding"]["embedding"]
    return params


def logits(model, params, tokens=TOKENS, key=None):
    rngs = None if key is None else {"dropout": jax.random.key(key)}
    return np.asarray(apply(model.build(SPEC), {"params": params}, tokens, rngs=rngs))


@given(hnp.arrays(np.float32, (5, 3, 2), elements=floats), hnp.arrays(bool, (5, 3)))
def test_pooling_is_over_the_steps_of_the_mask(states, mask):
    for how, plain in (("max", np.max), ("mean", np.mean)):
        expected = np.stack(
            [plain(states[mask[:, row], row], axis=0) if mask[:, row].any() else np.zeros(2) for row in range(3)]
        )
        np.testing.assert_allclose(pool(jnp.asarray(states), jnp.asarray(mask), how), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_rows_of_padding_give_zero_gradients(pooling):
    gradient = jax.grad(lambda states: pool(states, jnp.zeros((3, 2), bool), pooling).sum())(jnp.ones((3, 2, 4)))
    np.testing.assert_array_equal(gradient, 0)


def test_the_second_direction_reads_backwards():
    """With the directions' parameters exchanged, a reversed text gives what the text gave."""
    model = dataclasses.replace(SMALL, bidirectional=True)
    params = params_of(model)
    kernel = params["dense"]["kernel"]
    exchanged = params | {
        "lstm": params["lstm_backward"],
        "lstm_backward": params["lstm"],
        "dense": params["dense"] | {"kernel": jnp.concatenate([kernel[6:], kernel[:6]])},
    }
    here, there = logits(model, params), logits(model, exchanged, TOKENS[:, ::-1])
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)
    assert np.all(np.abs(logits(model, params, TOKENS[:, ::-1]) - here) > 1e-5)


@pytest.mark.parametrize(
    ("pooling", "bidirectional"),
    [
        ("concat", True),
        *(
            pytest.param(how, both, marks=pytest.mark.slow)
            for how in ("last", "max", "mean", "concat")
            for both in (False, True)
            if (how, both) != ("concat", True)
        ),
    ],
)
def test_the_reference_scan_equals_the_fused_one(pooling, bidirectional):
    model = dataclasses.replace(SMALL, pooling=pooling, bidirectional=bidirectional)
    plain = dataclasses.replace(model, implementation="reference")
    params = params_of(model)
    tokens = TOKENS.at[0, :5].set(0).at[1, 7:].set(0)
    np.testing.assert_allclose(logits(model, params, tokens), logits(plain, params, tokens), rtol=1e-5, atol=1e-6)


DROPOUTS = [
    {"embedding_dropout": 0.5},
    {"input_dropout": 0.5},
    pytest.param({"input_dropout": 0.5, "shared_dropout_mask": False}, marks=pytest.mark.slow),
    {"output_dropout": 0.5},
]


@pytest.mark.parametrize("fields", DROPOUTS, ids=str)
def test_dropout_is_used_only_in_training_and_depends_on_the_key(fields):
    model, params = dataclasses.replace(SMALL, **fields), params_of(SMALL)
    np.testing.assert_array_equal(logits(model, params), logits(SMALL, params))
    np.testing.assert_array_equal(logits(model, params, key=1), logits(model, params, key=1))
    assert np.any(logits(model, params, key=1) != logits(model, params, key=2))
    assert np.any(logits(model, params, key=1) != logits(model, params))


@pytest.mark.parametrize("fields", DROPOUTS, ids=str)
def test_dropout_rescales_what_is_kept(fields):
    """The expectation of a linear read-out: here the sum of the features, of an LSTM taken out of the way."""
    model = dataclasses.replace(SMALL, **fields)
    features = captured(model, params_of(SMALL), keys=400)
    if "output_dropout" not in fields:
        np.testing.assert_allclose(features.mean(), captured(SMALL, params_of(SMALL), keys=1).mean(), atol=0.05)
        dropped = np.mean(features == 0)
        assert 0.45 < dropped < 0.55


def captured(model, params, keys):
    """The inputs of the LSTM in training, [keys, time, batch, features]."""

    def inputs(key):
        _, state = model.build(SPEC).apply(
            {"params": params},
            TOKENS,
            rngs={"dropout": key},
            capture_intermediates=lambda module, _: type(module).__name__ in ("Dropout", "Embed"),
            mutable=["intermediates"],
        )
        embedded = state["intermediates"]["embedding"]["__call__"][0]
        return embedded, state["intermediates"]

    embedded, state = jax.jit(jax.vmap(inputs))(jax.random.split(jax.random.key(0), keys))
    if model.embedding_dropout:
        (kept,) = state["Dropout_0"]["__call__"]
        return np.asarray(embedded * jax.vmap(lambda row: row[TOKENS.T][..., None])(kept))
    if model.input_dropout:
        (dropped,) = state["Dropout_0"]["__call__"]
        return np.asarray(dropped)
    return np.asarray(embedded)


def test_a_dropped_word_is_dropped_at_every_position():
    model = dataclasses.replace(SMALL, embedding_dropout=0.5)
    gone = np.all(captured(model, params_of(SMALL), keys=20) == 0, axis=-1)  # [keys, time, batch]
    for key in gone:
        of_word = {}
        for token, is_gone in zip(np.asarray(TOKENS.T).ravel(), key.ravel(), strict=True):
            assert of_word.setdefault(int(token), is_gone) == is_gone
        assert 0 < sum(of_word.values()) < len(of_word)


@pytest.mark.parametrize("same", [True, False])
def test_shared_dropout_uses_the_same_mask_at_all_steps(same):
    model = dataclasses.replace(SMALL, input_dropout=0.5, shared_dropout_mask=same)
    gone = captured(model, params_of(SMALL), keys=20) == 0
    assert np.all(gone == gone[:, :1]) == same
    assert np.any(gone[:, :, :1] != gone[:, :, 1:]), "texts have masks of their own"


NGRAMS = dataclasses.replace(SMALL, max_ngram=3, ngram_dim=2, ngram_buckets=2**10)


def test_each_position_has_the_embeddings_of_the_ngrams_ending_there():
    params, row = params_of(NGRAMS), TOKENS[:1]
    read = read_by_the_lstm(NGRAMS, params, row)[:, 0]
    np.testing.assert_array_equal(read[:, :8], params["embedding"]["embedding"][row[0]])
    for length, columns in ((2, slice(8, 10)), (3, slice(10, 12))):
        buckets, complete = ngram_buckets(row, length, NGRAMS.ngram_buckets)
        expected = params[f"embedding_{length}"]["embedding"][buckets[0]] * complete[0][:, None]
        np.testing.assert_array_equal(read[:, columns], expected)
        assert np.all(read[: length - 1, columns] == 0)
        assert np.any(read[length - 1 :, columns] != 0)


def test_a_word_of_weight_zero_removes_its_ngrams():
    params, gone = params_of(NGRAMS), 5
    token_weights = jnp.ones(TOKENS.shape).at[:, gone].set(0)
    read, whole = read_by_the_lstm(NGRAMS, params, TOKENS, token_weights), read_by_the_lstm(NGRAMS, params, TOKENS)
    for columns, reach in ((slice(0, 8), 1), (slice(8, 10), 2), (slice(10, 12), 3)):
        changed = np.any(read[:, :, columns] != whole[:, :, columns], axis=(1, 2))
        assert np.flatnonzero(changed).tolist() == list(range(gone, gone + reach))
        assert np.all(read[gone : gone + reach, :, columns] == 0)


def read_by_the_lstm(model, params, tokens, token_weights=None):
    """The inputs of the first LSTM, [time, batch, features]."""
    model = dataclasses.replace(model, implementation="fused")  # which calls the module of each direction
    return np.asarray(_read_by_the_lstm(model.build(SPEC), params, tokens, token_weights))


@functools.partial(jax.jit, static_argnums=0)
def _read_by_the_lstm(module, params, tokens, token_weights):
    read = []

    def listen(next_function, args, kwargs, context):
        if isinstance(context.module, MaskedLSTM) and context.method_name == "__call__":
            read.append(args[0])
        return next_function(*args, **kwargs)

    with nn.intercept_methods(listen):
        module.apply({"params": params}, tokens, token_weights)
    return read[0]


@pytest.mark.parametrize("name", ["max_ngram", "ngram_dim", "ngram_buckets"])
def test_ngrams_of_no_size_are_refused(name):
    with pytest.raises(UserError, match=f"--model.{name.replace('_', '-')} is 0; expected at least 1"):
        LSTM(**{name: 0})


@pytest.mark.parametrize("name", ["embedding_dropout", "input_dropout", "output_dropout"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_an_invalid_rate_is_refused(name, value):
    with pytest.raises(UserError, match=f"--model.{name.replace('_', '-')} is {value}"):
        LSTM(**{name: value})
