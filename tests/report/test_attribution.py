"""Integrated gradients: the axioms of Sundararajan et al. 2017, and what is known without them."""

import functools

import jax
import numpy as np
import pytest
from compiled import init_params
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.data.texts import TextSpec
from lab10.data.tokenizer import PADDING_ID, pad
from lab10.inspection.report.attribution import (
    TOLERANCE,
    class_logits,
    explain,
    integrated_gradients,
    takes_token_weights,
)
from lab10.models.text_classifiers import LSTM, BagOfWords

NUM_IDS, LENGTH, BATCH = 30, 8, 4
TWO = TextSpec(num_ids=NUM_IDS, class_names=("neg", "pos"))
THREE = TextSpec(num_ids=NUM_IDS, class_names=("a", "b", "c"))
# The two experiments' models, small, and logistic regression, whose answer is known.
MODELS = {
    "lstm": LSTM(embedding_dim=5, hidden_size=4),
    "lstm of n-grams": LSTM(embedding_dim=5, hidden_size=4, max_ngram=2, ngram_dim=3, ngram_buckets=64),
    "bag": BagOfWords(widths=(6,)),
    "logistic": BagOfWords(widths=()),
}

texts = st.lists(st.lists(st.integers(1, NUM_IDS - 1), max_size=LENGTH), min_size=BATCH, max_size=BATCH)
# Each pair is compiled: with few examples, those that have most in them.
PAIRS = [("lstm of n-grams", TWO), ("bag", THREE)]
if settings().max_examples >= 50:
    PAIRS = [(name, spec) for name in ("lstm", "lstm of n-grams", "bag") for spec in (TWO, THREE)]
pairs, models, seeds = st.sampled_from(PAIRS), st.sampled_from([*dict(PAIRS)]), st.integers(0, 5)
sides = st.sampled_from(("left", "right"))


@functools.cache
def classifier(name, spec, seed):
    """A module, and parameters that are random in every entry and large enough for margins of many units."""
    module = MODELS[name].build(spec)
    leaves, structure = jax.tree.flatten(init_params(module, spec, seed))
    random = np.random.default_rng(seed)
    leaves = [np.asarray(leaf) + random.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return module, jax.tree.unflatten(structure, leaves)


@functools.cache
def logits_of(name, spec):
    """The model's own logits, compiled."""
    return jax.jit(
        lambda params, tokens, token_weights=None: (
            MODELS[name].build(spec).apply({"params": params}, tokens, token_weights)
        )
    )


def padded(rows, side="left"):
    return pad([np.array(row, np.int32) for row in rows], LENGTH, padding_side=side, truncation_side="left")


def explained(name, spec, seed, tokens):
    classes = len(spec.class_names)
    towards = np.arange(len(tokens)) % classes
    against = (towards + 1) % classes
    return towards, against, explain(*classifier(name, spec, seed), tokens, towards, against)


@given(texts, pairs, seeds, sides)
def test_influences_sum_to_the_difference_of_margins(rows, pair, seed, side):
    tokens, (name, spec) = padded(rows, side), pair
    towards, against, found = explained(name, spec, seed, tokens)
    np.testing.assert_array_less(np.abs(found.relative_completeness_gap), TOLERANCE)
    # The margin is the model's own, and the gap is what it says it is.
    logits = np.asarray(class_logits(logits_of(name, spec)(classifier(name, spec, seed)[1], tokens)))
    margin = logits[np.arange(BATCH), towards] - logits[np.arange(BATCH), against]
    np.testing.assert_allclose(found.margin, margin, rtol=1e-4, atol=1e-5)
    total = found.margin - found.baseline_margin
    missed = np.sum(found.influence, axis=1) - total
    np.testing.assert_allclose(found.relative_completeness_gap * np.maximum(1, np.abs(total)), missed, atol=1e-5)


@pytest.mark.slow  # tests/properties/test_padding.py
@given(texts, models, seeds, sides)
def test_padding_has_no_influence(rows, name, seed, side):
    tokens = padded(rows, side)
    found = explained(name, TWO, seed, tokens)[-1]
    np.testing.assert_array_equal(np.asarray(found.influence)[tokens == PADDING_ID], 0)


@given(texts, models, seeds)
def test_influences_on_two_classes_are_opposite(rows, name, seed):
    tokens, (module, params) = padded(rows), classifier(name, TWO, seed)
    first, second = np.zeros(BATCH, int), np.ones(BATCH, int)
    one, other = (integrated_gradients(module, params, tokens, *pair) for pair in ((first, second), (second, first)))
    np.testing.assert_allclose(one.influence, -other.influence, rtol=1e-5, atol=1e-6)


@given(texts, models, seeds)
def test_token_weights_of_one_change_no_logit(rows, name, seed):
    tokens, params, logits = padded(rows), classifier(name, TWO, seed)[1], logits_of(name, TWO)
    np.testing.assert_allclose(
        logits(params, tokens, np.ones(tokens.shape, np.float32)), logits(params, tokens), rtol=1e-5, atol=1e-5
    )


def test_in_logistic_regression_a_words_influence_is_its_weight_over_its_occurrences():
    module, params = classifier("logistic", TWO, 0)
    weight = np.asarray(params["dense"]["kernel"])[:, 0]
    found = integrated_gradients(module, params, padded([[3, 7, 7, 9]]), np.array([1]), np.array([0]))
    expected = [0, 0, 0, 0, weight[3], weight[7] / 2, weight[7] / 2, weight[9]]
    np.testing.assert_allclose(found.influence[0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.baseline_margin[0], params["dense"]["bias"][0], rtol=1e-5)


def test_more_panels_close_the_gap_of_one():
    tokens = padded(np.random.default_rng(0).integers(1, NUM_IDS, (BATCH, LENGTH)).tolist())
    arguments = (*classifier("bag", TWO, 1), tokens, np.ones(BATCH, int), np.zeros(BATCH, int))
    once, often = (
        np.abs(integrated_gradients(*arguments, panels).relative_completeness_gap).max() for panels in (1, 64)
    )
    assert once > 4 * often
    assert np.abs(explain(*arguments).relative_completeness_gap).max() <= TOLERANCE


@pytest.mark.parametrize(("module", "takes"), [(LSTM().build(TWO), True), (BagOfWords().build(TWO), True)])
def test_all_classifiers_of_lab10_can_be_attributed(module, takes):
    assert takes_token_weights(module) == takes


def test_a_classifier_without_token_weights_is_recognized():
    from flax import linen as nn

    class Other(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            return nn.Dense(1)(tokens)

    assert not takes_token_weights(Other())
