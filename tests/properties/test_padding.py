"""Padding affects neither the LSTM, nor its gradients, nor the bag of words."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.data.texts import TextSpec
from lab10.data.tokenizer import pad
from lab10.models.lstm import LSTMCell, MaskedLSTM
from lab10.models.text_classifiers import LSTM, BagOfWords, multi_hot

NUM_IDS, MAX_NGRAM, BATCH = 30, 6, 3
LENGTHS = (6, 14)  # few, since each is compiled
SPEC = TextSpec(num_ids=NUM_IDS, class_names=("neg", "pos"))

texts = st.lists(st.lists(st.integers(1, NUM_IDS - 1), max_size=MAX_NGRAM), min_size=BATCH, max_size=BATCH)
sides = st.sampled_from(("left", "right"))
seeds = st.integers(0, 3)
# Each is compiled, for each length: with few examples, those that have most in them.
LSTMS = [
    LSTM(embedding_dim=5, hidden_size=4, bidirectional=True, pooling="concat"),
    LSTM(embedding_dim=5, hidden_size=4, pooling="mean", max_ngram=3, ngram_dim=2, ngram_buckets=64),
]
if settings().max_examples >= 50:
    LSTMS += [
        LSTM(embedding_dim=5, hidden_size=4, bidirectional=both, pooling=pooling)
        for both in (False, True)
        for pooling in ("last", "max", "mean")
    ]
lstms = st.sampled_from(LSTMS)


@functools.cache
def classifier(model):
    """Logits of padded rows under parameters that are random in every entry, biases too."""
    module = model.build(SPEC)
    leaves, structure = jax.tree.flatten(
        jax.eval_shape(module.init, jax.random.key(0), jnp.ones((1, 1), jnp.int32))["params"]
    )
    apply = jax.jit(module.apply)

    def logits(seed, tokens):
        random = np.random.default_rng(seed)
        drawn = [0.3 * random.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
        return apply({"params": jax.tree.unflatten(structure, drawn)}, tokens)

    return logits


def padded(rows, length, side):
    return pad([np.array(row, np.int32) for row in rows], length, padding_side=side, truncation_side="left")


@given(lstms, texts, seeds, sides, st.sampled_from(LENGTHS[1:]))
def test_the_amount_of_padding_does_not_matter(lstm, rows, seed, side, length):
    logits = classifier(lstm)
    np.testing.assert_allclose(
        logits(seed, padded(rows, length, side)), logits(seed, padded(rows, LENGTHS[0], side)), rtol=1e-5, atol=2e-6
    )


@given(lstms, texts, seeds, st.sampled_from(LENGTHS))
def test_left_and_right_padding_agree(lstm, rows, seed, length):
    logits = classifier(lstm)
    np.testing.assert_allclose(
        logits(seed, padded(rows, length, "left")), logits(seed, padded(rows, length, "right")), rtol=1e-5, atol=2e-6
    )


@given(lstms, texts, seeds)
def test_the_lstm_reads_the_order_of_words(lstm, rows, seed):
    """Guards the two tests above: a classifier that ignores its input would pass them."""
    logits = classifier(lstm)
    rows[0] = [1, 2, 3]
    here, there = logits(seed, padded(rows, 6, "left")), logits(seed, padded([[3, 2, 1], *rows[1:]], 6, "left"))
    assert abs(here[0, 0] - there[0, 0]) > 1e-5
    np.testing.assert_allclose(here[1:], there[1:], atol=2e-6)


@pytest.fixture(scope="module", params=["reference", "fused"])
def lstm(request):
    """A masked LSTM over [3, 5, 2], rows first, and the gradient of all its outputs with respect to the features."""
    module = MaskedLSTM(4, implementation=request.param)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((5, BATCH, 2)), jnp.ones((5, BATCH), bool))

    def apply(features, mask):
        last, outputs = module.apply(params, features.swapaxes(0, 1), mask.T)
        return last, outputs.swapaxes(0, 1)

    def total(features, mask):
        (cell, hidden), outputs = apply(features, mask)
        return jnp.sum(cell) + jnp.sum(hidden) + jnp.sum(jnp.sin(outputs))

    return jax.jit(apply), jax.jit(jax.grad(total))


masks = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=BATCH, max_size=BATCH).map(
    lambda rows: np.array(rows, bool)
)


@given(masks, st.integers(0, 2**32 - 1))
def test_a_row_of_padding_alone_gives_the_initial_carry(lstm, mask, seed):
    apply, _ = lstm
    mask[1] = False
    features = np.random.default_rng(seed).normal(size=(BATCH, 5, 2)).astype(np.float32)
    (cell, hidden), outputs = apply(features, mask)
    assert not np.any(cell[1])
    assert not np.any(hidden[1])
    assert not np.any(outputs[1])
    assert all(np.any(cell[row]) for row in range(BATCH) if mask[row].any())


@given(st.integers(0, 2**32 - 1), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_masked_step_keeps_the_carry(seed, mask):
    random = np.random.default_rng(seed)
    carry = tuple(jnp.asarray(random.normal(size=(4, 3)), jnp.float32) for _ in range(2))
    features, mask = jnp.asarray(random.normal(size=(4, 2)), jnp.float32), np.array(mask)
    (cell, hidden), output = cell_step()(carry, (features, jnp.asarray(mask)))
    np.testing.assert_array_equal(np.asarray(cell)[~mask], np.asarray(carry[0])[~mask])
    np.testing.assert_array_equal(np.asarray(hidden)[~mask], np.asarray(carry[1])[~mask])
    np.testing.assert_array_equal(output, hidden)
    assert np.all(np.asarray(hidden)[mask] != np.asarray(carry[1])[mask])


@functools.cache
def cell_step():
    cell = LSTMCell(3)
    zeros = jnp.zeros((4, 3))
    params = jax.jit(cell.init)(jax.random.key(1), (zeros, zeros), (jnp.zeros((4, 2)), jnp.ones(4, bool)))
    return jax.jit(functools.partial(cell.apply, params))


@given(masks, st.integers(0, 2**32 - 1))
def test_no_gradient_flows_to_padded_positions(lstm, mask, seed):
    _, gradient = lstm
    features = np.random.default_rng(seed).normal(size=(BATCH, 5, 2)).astype(np.float32)
    towards = np.asarray(gradient(features, mask))
    assert not np.any(towards[~mask])
    assert np.all(np.any(towards[mask] != 0, axis=-1))


def test_the_embedding_of_padding_gets_no_gradient():
    module = LSTM(embedding_dim=5, hidden_size=4).build(SPEC)
    tokens = jnp.asarray(padded([[1, 2], [3], []], 6, "left"))
    params = jax.jit(module.init)(jax.random.key(0), tokens)
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(module.apply(params, tokens))))(params)["params"]["embedding"][
        "embedding"
    ]
    assert not np.any(gradient[0])
    assert not np.any(gradient[4:])
    assert np.all(np.any(gradient[1:4] != 0, axis=-1))


@given(texts, seeds, st.sampled_from(LENGTHS[1:]), st.randoms(use_true_random=False))
def test_a_bag_of_words_ignores_padding_order_and_repetition(rows, seed, length, random):
    logits = classifier(BagOfWords(widths=(4,)))
    changed = []
    for row in rows:
        row = row + [random.choice(row) for _ in range(MAX_NGRAM - len(row))] if row else row
        random.shuffle(row)
        changed.append(row)
    np.testing.assert_array_equal(
        logits(seed, padded(changed, length, "right")), logits(seed, padded(rows, LENGTHS[0], "left"))
    )


@given(texts)
def test_a_multi_hot_row_marks_the_ids_that_occur(rows):
    expected = [[float(column in row) for column in range(NUM_IDS)] for row in rows]
    np.testing.assert_array_equal(multi_hot(jnp.asarray(padded(rows, 6, "left")), NUM_IDS), expected)
