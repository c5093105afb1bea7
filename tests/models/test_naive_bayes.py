"""Log-count ratios agree with their definition, and no gradient reaches them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params
from ngram_texts import INPUTS, LABELS

from lab10.config.errors import UserError
from lab10.data.dataset import Split
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.models.naive_bayes import NBSVM, log_count_ratios

NUM_NGRAMS = 5
SPEC = TextSpec(num_ids=8, class_names=("neg", "pos"), max_ngram=2, num_ngrams=NUM_NGRAMS)
THREE = TextSpec(num_ids=8, class_names=("a", "b", "c"), max_ngram=2, num_ngrams=NUM_NGRAMS)


def split(labels: np.ndarray = LABELS) -> Split:
    return Split(np.arange(3), lambda rows, _: {"inputs": INPUTS[rows], "labels": labels[rows]})


def test_ratios_of_two_classes_compare_the_second_with_the_first():
    ratios = log_count_ratios(split(), NUM_NGRAMS, 1, smoothing=1.0)
    # Texts that contain the n-grams 1 to 5, plus 1: of the second class [2, 2, 1, 2, 1], of the first [0, 0, 1, 0, 0].
    positive, negative = np.array([3, 3, 2, 3, 2]), np.array([1, 1, 2, 1, 1])
    expected = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    np.testing.assert_allclose(ratios[1:, 0], expected, rtol=1e-6)
    assert ratios[0] == 0
    assert ratios.dtype == np.float32


def test_ratios_of_three_classes_compare_each_with_the_others():
    labels = np.array([0, 1, 2], np.int32)
    ratios = log_count_ratios(split(labels), NUM_NGRAMS, 3, smoothing=0.5)
    assert ratios.shape == (NUM_NGRAMS + 1, 3)
    for label in range(3):
        one_against_rest = log_count_ratios(split((labels == label).astype(np.int32)), NUM_NGRAMS, 1, smoothing=0.5)
        np.testing.assert_allclose(ratios[:, label], one_against_rest[:, 0], rtol=1e-6)


@pytest.mark.parametrize("spec", [SPEC, THREE])
def test_a_gradient_reaches_the_weights_and_not_the_ratios(spec):
    model = NBSVM()
    module = model.build(spec)
    params = init_params(module, spec, 0)
    ratios = model.params_from_data(spec, split())["log_count_ratios"]
    assert jnp.shape(params["log_count_ratios"]) == ratios.shape
    params["log_count_ratios"] = ratios
    gradient = jax.jit(jax.grad(lambda params: module.apply({"params": params}, jnp.array(INPUTS))[:, 0].sum()))(params)
    np.testing.assert_array_equal(gradient["log_count_ratios"], 0)
    # Each text in which an n-gram occurs adds its ratio.
    counts = np.array([np.sum(INPUTS[..., 1:] == i) for i in range(1, NUM_NGRAMS + 1)])
    np.testing.assert_allclose(gradient["weights"][1:, 0], counts * ratios[1:, 0], rtol=1e-6)


def test_logits_are_the_weighted_ratios_of_the_ngrams_of_a_text():
    module = NBSVM().build(SPEC)
    random = np.random.default_rng(0)
    ratios, weights = random.normal(size=(2, NUM_NGRAMS + 1, 1)).astype(np.float32)
    ratios[0] = 0
    params = {"log_count_ratios": ratios, "weights": weights, "bias": np.float32([0.5])}
    logits = apply(module, {"params": params}, INPUTS)
    per_ngram = (ratios * weights)[:, 0]
    expected = [per_ngram[[1, 2, 4]].sum(), per_ngram[[1, 2, 3, 4, 5]].sum(), per_ngram[3]]
    np.testing.assert_allclose(logits[:, 0], np.array(expected) + 0.5, rtol=1e-5)
    # The weight of an n-gram is the product of the weights of its words.
    token_weights = np.array([[1, 0.5, 0.2]] * 3, np.float32)
    weighted = apply(module, {"params": params}, INPUTS, token_weights)
    first = 0.5 * per_ngram[1] + 0.2 * per_ngram[2] + 0.5 * 0.2 * per_ngram[4]
    np.testing.assert_allclose(weighted[0, 0], first + 0.5, rtol=1e-5)


def test_data_without_ngrams_are_refused_with_the_option_that_adds_them():
    with pytest.raises(UserError, match=r"--data\.max-ngram must be at least 2"):
        NBSVM().build(TextSpec(num_ids=8, class_names=("neg", "pos")))
    with pytest.raises(UserError, match="reads texts"):
        NBSVM().build(ImageSpec(height=1, width=1, pixel_max=255))


@pytest.mark.parametrize("smoothing", [0.0, -1.0, math.inf, math.nan])
def test_a_smoothing_without_finite_ratios_is_refused(smoothing):
    with pytest.raises(UserError, match=r"--model\.smoothing"):
        NBSVM(smoothing=smoothing)
