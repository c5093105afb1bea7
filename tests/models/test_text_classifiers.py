"""The classifiers' sizes and initialisers: the lab's, number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_params, init_with_output

from lab10.config.errors import UserError
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.models.text_classifiers import LSTM, BagOfWords, keras_uniform, num_logits
from lab10.training.state import count_parameters

LAB = TextSpec(num_ids=10_000, class_names=("neg", "pos"))
FOUR = TextSpec(num_ids=50, class_names=("world", "sports", "business", "science"))


def test_the_labs_lstm_has_exactly_652_513_parameters():
    params = init_params(LSTM().build(LAB), LAB, 0)
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes["embedding"]["embedding"] == (10_001, 64)
    assert shapes["lstm"]["cell"] == {"input_kernel": (64, 128), "recurrent_kernel": (32, 128), "bias": (128,)}
    assert shapes["dense"] == {"kernel": (32, 1), "bias": (1,)}
    assert count_parameters(params) == 652_513


def test_the_embedding_starts_uniform_within_0_05():
    embedding = init_params(LSTM().build(LAB), LAB, 0)["embedding"]["embedding"]
    assert 0.0499 < np.abs(embedding).max() <= 0.05
    np.testing.assert_allclose(embedding.std(), 0.05 / np.sqrt(3), rtol=0.01)
    assert keras_uniform(jax.random.key(0), (2, 3), jnp.dtype("float32")).shape == (2, 3)


def test_the_dense_layer_starts_glorot_uniform_without_bias():
    dense = init_params(LSTM().build(LAB), LAB, 0)["dense"]
    assert np.abs(dense["kernel"]).max() <= np.sqrt(6 / 33)
    np.testing.assert_array_equal(dense["bias"], [0.0])


def test_initial_parameters_are_a_function_of_the_seed():
    once, again, otherwise = (
        init_params(LSTM().build(FOUR), FOUR, seed)["embedding"]["embedding"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert np.any(once != otherwise)


def test_two_classes_have_one_logit_and_more_classes_one_each():
    assert num_logits(LAB) == 1
    assert num_logits(FOUR) == 4


@pytest.mark.parametrize(
    "model", [LSTM(embedding_dim=3, hidden_size=2), BagOfWords(widths=(4,)), BagOfWords(widths=())]
)
@pytest.mark.parametrize("spec", [LAB, FOUR])
def test_classifiers_map_ids_to_float32_logits(model, spec):
    tokens = jnp.array([[0, 1, 49], [0, 0, 0]], jnp.int32)
    logits, _ = init_with_output(model.build(spec), jax.random.key(0), tokens)
    assert logits.shape == (2, num_logits(spec))
    assert logits.dtype == jnp.float32
    assert np.all(np.isfinite(logits))


def test_a_bag_of_words_without_hidden_layers_is_logistic_regression():
    params = init_params(BagOfWords(widths=()).build(FOUR), FOUR, 0)
    assert jax.tree.map(jnp.shape, params) == {"dense": {"kernel": (50, 4), "bias": (4,)}}
    logits = apply(BagOfWords(widths=()).build(FOUR), {"params": params}, jnp.array([[7, 0, 9, 7]], jnp.int32))
    np.testing.assert_allclose(logits[0], params["dense"]["kernel"][7] + params["dense"]["kernel"][9], rtol=1e-6)


@pytest.mark.parametrize("model", [LSTM(dtype="bfloat16"), BagOfWords(dtype="bfloat16")])
def test_bfloat16_is_close_to_float32_on_the_same_parameters(model):
    tokens = jnp.arange(1, 31, dtype=jnp.int32).reshape(3, 10)
    logits, variables = init_with_output(model.build(FOUR), jax.random.key(0), tokens)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32
    in_float32 = apply(type(model)().build(FOUR), variables, tokens)
    np.testing.assert_allclose(logits, in_float32, atol=0.05)
    assert np.any(np.asarray(logits) != np.asarray(in_float32))


@pytest.mark.parametrize("model", [LSTM(), BagOfWords()])
def test_images_are_refused(model):
    with pytest.raises(UserError, match="reads texts, and the dataset holds images"):
        model.build(ImageSpec(height=2, width=2, pixel_max=255))


@pytest.mark.parametrize(
    ("kind", "fields", "option"),
    [
        (LSTM, {"hidden_size": 0}, "hidden-size"),
        (LSTM, {"embedding_dim": -1}, "embedding-dim"),
        (BagOfWords, {"widths": (4, 0)}, "widths"),
    ],
)
def test_widths_below_one_are_refused(kind, fields, option):
    with pytest.raises(UserError, match=f"--model.{option}"):
        kind(**fields)
