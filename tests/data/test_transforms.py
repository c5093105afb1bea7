"""Transforms of training batches: pure, and blind to padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.transforms import Binarize, GaussianNoise, NoTransform, Transform, WordDropout

tokens = st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=4, max_size=4).map(
    lambda rows: jnp.asarray(rows, jnp.int32)
)
keys = st.integers(0, 2**31 - 1).map(jax.random.key)


def images(seed=0):
    pixels = jax.random.uniform(jax.random.key(seed), (4, 200))
    return {"inputs": pixels, "targets": pixels, "mask": jnp.ones(4, bool), "labels": jnp.arange(4)}


def test_no_transform_returns_the_batch_unchanged():
    batch = images()
    after = NoTransform()(batch, jax.random.key(0))
    assert after.keys() == batch.keys()
    assert all(after[name] is batch[name] for name in batch)


def test_noise_changes_only_the_inputs():
    batch = images()
    after = GaussianNoise(deviation=0.3)(batch, jax.random.key(1))
    noise = np.asarray(after["inputs"] - batch["inputs"])
    assert abs(noise.std() - 0.3) < 0.05
    assert abs(noise.mean()) < 0.05
    assert all(after[name] is batch[name] for name in ("targets", "mask", "labels"))
    assert after["inputs"].dtype == batch["inputs"].dtype


@given(keys)
def test_noise_of_deviation_zero_changes_nothing(key):
    np.testing.assert_array_equal(GaussianNoise(deviation=0.0)(images(), key)["inputs"], images()["inputs"])


def binary_images(row_ids, intensity=None):
    rows = jax.random.uniform(jax.random.key(9), (40, 50)) if intensity is None else jnp.full((40, 50), intensity)
    pixels = rows[jnp.asarray(row_ids)]
    return {"inputs": pixels, "targets": pixels, "row_ids": jnp.asarray(row_ids, jnp.int32)}


@pytest.mark.parametrize("evaluation", [True, False])
@pytest.mark.parametrize("intensity", [0.0, 0.3, 1.0])
def test_a_pixel_is_one_with_the_probability_of_its_intensity(intensity, evaluation):
    batch, transform = binary_images(range(40), intensity), Binarize()
    after = transform.for_evaluation(batch) if evaluation else transform(batch, jax.random.key(1))
    drawn = np.asarray(after["inputs"])
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == ({0.0, 1.0} if intensity == 0.3 else {intensity})
    np.testing.assert_allclose(drawn.mean(), intensity, atol=0.05)
    np.testing.assert_array_equal(after["targets"], drawn)


def test_pixels_are_drawn_anew_in_training_and_once_in_evaluation():
    batch, transform = binary_images(range(40)), Binarize()
    one, other = (transform(batch, jax.random.key(seed))["inputs"] for seed in (0, 1))
    assert np.mean(one != other) > 0.2
    evaluated = np.asarray(transform.for_evaluation(batch)["inputs"])
    np.testing.assert_array_equal(transform.for_evaluation(batch)["inputs"], evaluated)
    rows = [31, 7, 7]
    np.testing.assert_array_equal(transform.for_evaluation(binary_images(rows))["inputs"], evaluated[rows])


def test_each_image_has_its_own_noise_in_evaluation():
    drawn = np.asarray(Binarize().for_evaluation(binary_images(range(40), 0.5))["inputs"])
    assert len(np.unique(drawn, axis=0)) == 40


@pytest.mark.parametrize("transform", [NoTransform(), GaussianNoise()])
def test_other_transforms_do_not_change_evaluation(transform):
    batch = images()
    assert transform.for_evaluation(batch) is batch


@given(tokens, keys, st.floats(0, 0.99))
def test_word_dropout_neither_changes_nor_creates_padding(inputs, key, rate):
    after = np.asarray(WordDropout(rate=rate, replacement_id=2)({"inputs": inputs}, key)["inputs"])
    np.testing.assert_array_equal(after == 0, np.asarray(inputs) == 0)
    assert np.all((after == inputs) | (after == 2))
    assert after.dtype == np.int32


@given(tokens, keys)
def test_word_dropout_of_rate_zero_is_the_identity(inputs, key):
    np.testing.assert_array_equal(WordDropout(rate=0.0)({"inputs": inputs}, key)["inputs"], inputs)


def test_word_dropout_replaces_the_given_fraction_of_words():
    words = jnp.full((100, 100), 7)
    after = WordDropout(rate=0.3, replacement_id=5)({"inputs": words, "targets": words}, jax.random.key(0))
    assert abs(float(jnp.mean(after["inputs"] == 5)) - 0.3) < 0.03
    assert after["targets"] is words


@pytest.mark.parametrize("transform", [GaussianNoise(), WordDropout(rate=0.5)])
def test_a_transform_is_a_function_of_batch_and_key(transform):
    batch = images() if isinstance(transform, GaussianNoise) else {"inputs": jnp.full((20, 20), 7)}
    once, again, otherwise = (transform(batch, jax.random.key(seed))["inputs"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert np.any(np.asarray(once) != np.asarray(otherwise))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (GaussianNoise, {"deviation": -0.1}),
        (GaussianNoise, {"deviation": float("nan")}),
        (WordDropout, {"rate": 1.0}),
        (WordDropout, {"rate": -0.1}),
    ],
)
def test_values_out_of_range_are_refused(kind, fields):
    with pytest.raises(UserError, match="--data.transform." + next(iter(fields))):
        kind(**fields)


def test_a_replacement_that_is_padding_is_refused():
    with pytest.raises(UserError, match=r"--data\.transform\.replacement-id"):
        WordDropout(replacement_id=0)


def test_a_transform_must_implement_call():
    with pytest.raises(TypeError, match="abstract"):
        Transform()


def test_word_dropout_leaves_the_start_and_the_unknown_id():
    tokens = jnp.array([[0, 0, 1, 2, 5, 6]] * 50)
    changed = WordDropout(rate=0.99)({"inputs": tokens}, jax.random.key(0))["inputs"]
    assert jnp.array_equal(changed[:, :4], tokens[:, :4])
    assert bool((changed[:, 4:] == 2).any())
