"""The bag of n-grams: its n-grams and buckets, and what changes the logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params

from lab10.config.errors import UserError
from lab10.data.texts import TextSpec
from lab10.models.bag_of_ngrams import BagOfNgrams
from lab10.models.ngrams import ngram_buckets

SPEC = TextSpec(num_ids=50, class_names=("neg", "pos"))
BUCKETS = 2**18


def of_row(row, length):
    """The buckets of a row's n-grams, in order."""
    buckets, complete = jax.jit(ngram_buckets, static_argnums=(1, 2))(np.array([row], np.int32), length, BUCKETS)
    return np.asarray(buckets)[0][np.asarray(complete)[0]].tolist()


def test_every_ngram_has_a_bucket_and_equal_ones_the_same():
    assert len(of_row([5, 6, 7, 8], 1)) == 4
    assert len(of_row([5, 6, 7, 8], 2)) == 3
    assert len(of_row([5, 6, 7, 8], 3)) == 2
    assert of_row([5, 6], 3) == []
    twice = of_row([5, 6, 9, 5, 6], 2)
    assert twice[0] == twice[3]
    assert len(set(twice)) == 3
    assert of_row([5, 6], 2) != of_row([6, 5], 2), "order counts within one"


def test_ngrams_do_not_include_padding():
    for length in (1, 2, 3):
        expected = of_row([5, 6, 7, 8], length)
        assert of_row([0, 0, 5, 6, 7, 8], length) == expected
        assert of_row([5, 6, 7, 8, 0], length) == expected


def test_buckets_are_used_evenly():
    """40,000 pairs in 2**18 buckets: of so many thrown at random, 97 in 100 or more fall where few others do."""
    first, second = np.meshgrid(np.arange(1, 201), np.arange(1, 201))
    pairs = jnp.array(np.stack([first.ravel(), second.ravel()], axis=1))
    used = np.asarray(ngram_buckets(pairs, 2, BUCKETS)[0])[:, 1]
    expected = BUCKETS * (1 - np.exp(-len(pairs) / BUCKETS))
    assert len(np.unique(used)) > 0.97 * expected


def logits(model, tokens, **more):
    module = model.build(SPEC)
    return apply(module, {"params": init_params(module, SPEC, 0)}, np.array(tokens), **more)


def test_the_logits_are_a_dense_layer_of_the_mean_embedding():
    model = BagOfNgrams(embedding_dim=4)
    params = init_params(model.build(SPEC), SPEC, 0)
    row = [0, 7, 3, 7]
    rows = params["embedding"]["embedding"][np.array(of_row(row, 1) + of_row(row, 2))]
    expected = rows.mean(axis=0) @ params["dense"]["kernel"] + params["dense"]["bias"]
    np.testing.assert_allclose(logits(model, [row])[0], expected, rtol=1e-5)


def test_bigrams_distinguish_word_orders_and_words_do_not():
    one, other = [[4, 5, 6]], [[6, 5, 4]]
    words, bigrams = BagOfNgrams(max_ngram=1), BagOfNgrams(max_ngram=2)
    np.testing.assert_allclose(logits(words, one), logits(words, other), atol=1e-7)
    assert abs(logits(bigrams, one) - logits(bigrams, other)).max() > 1e-6


def test_a_word_of_weight_zero_removes_its_ngrams():
    model = BagOfNgrams(embedding_dim=4)
    token_weights = jnp.array([[1.0, 1.0, 0.0]])
    params = init_params(model.build(SPEC), SPEC, 0)
    kept = of_row([4, 5], 1) + of_row([4, 5], 2)
    expected = params["embedding"]["embedding"][np.array(kept)].sum(axis=0) / 5 @ params["dense"]["kernel"]
    np.testing.assert_allclose(logits(model, [[4, 5, 6]], token_weights=token_weights)[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(
        logits(model, [[4, 5, 6]], token_weights=jnp.ones((1, 3))), logits(model, [[4, 5, 6]])
    )


def test_blank_rows_are_finite():
    model = BagOfNgrams()
    assert bool(jnp.all(jnp.isfinite(logits(model, [[0, 0]]))))
    module = model.build(SPEC)
    gradient = jax.jit(jax.grad(lambda p: module.apply({"params": p}, jnp.zeros((1, 2), jnp.int32)).sum()))(
        init_params(module, SPEC, 0)
    )
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    "fields", [{"max_ngram": 0}, {"max_ngram": 9}, {"buckets": 0}, {"embedding_dim": 0}, {"dropout": 1.0}]
)
def test_invalid_fields_are_refused(fields):
    with pytest.raises(UserError, match=f"--model.{next(iter(fields)).replace('_', '-')} is"):
        BagOfNgrams(**fields)
