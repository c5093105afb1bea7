"""Cross-entropy and accuracy against the formulas, for one logit and for several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab10.tasks.classification import Classification, probabilities

KEY = jax.random.key(0)

logit = st.floats(-30, 30, width=32)


@given(st.lists(logit, min_size=4, max_size=4), st.lists(st.integers(0, 1), min_size=4, max_size=4))
def test_a_single_logit_is_that_of_the_second_class(logits, labels):
    batch = {"targets": jnp.array(labels, jnp.int32)}
    values = Classification().per_example(jnp.array(logits)[:, None], batch, KEY)
    z, y = np.array(logits, np.float64), np.array(labels)
    np.testing.assert_allclose(
        values["loss"], np.logaddexp(0, -z) * y + np.logaddexp(0, z) * (1 - y), rtol=1e-5, atol=1e-6
    )
    sure = np.abs(z) > 1e-6
    np.testing.assert_array_equal(np.asarray(values["accuracy"])[sure], ((z > 0) == y)[sure])


@given(
    st.lists(st.lists(logit, min_size=4, max_size=4), min_size=3, max_size=3),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
def test_several_logits_are_one_per_class(logits, labels):
    values = Classification().per_example(jnp.array(logits), {"targets": jnp.array(labels, jnp.int32)}, KEY)
    z = np.array(logits, np.float64)
    log_probabilities = (
        z - np.log(np.sum(np.exp(z - z.max(1, keepdims=True)), axis=1, keepdims=True)) - z.max(1, keepdims=True)
    )
    np.testing.assert_allclose(values["loss"], -log_probabilities[np.arange(3), labels], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities(jnp.array(logits)), np.exp(log_probabilities), rtol=1e-4, atol=1e-6)
    for row, label, right in zip(z, labels, values["accuracy"], strict=True):
        if np.sum(row >= row.max() - 1e-5) == 1:
            assert right == (row.argmax() == label)


def test_large_logits_stay_finite():
    values = Classification().per_example(jnp.array([[1e4], [-1e4]]), {"targets": jnp.array([0, 0])}, KEY)
    np.testing.assert_allclose(values["loss"], [1e4, 0])


def test_probabilities_of_one_logit_sum_to_one_at_both_ends():
    classes = probabilities(jnp.array([[-40.0], [0.0], [40.0]]))
    np.testing.assert_allclose(classes.sum(axis=-1), np.ones(3))
    assert np.all(classes > 0), "small probabilities must not round to 0"
    np.testing.assert_allclose(classes[1], [0.5, 0.5])


@pytest.mark.parametrize(
    ("logits", "predicted"), [([[2.0], [-2.0]], [1, 0]), ([[0.0, 3.0, 1.0], [0.0, 0.0, 1.0]], [1, 2])]
)
def test_predictions_give_the_label_the_class_and_its_probability(logits, predicted):
    outputs, labels = jnp.array(logits), jnp.array([1, 1])
    predictions = Classification().extra_columns(outputs, {"targets": labels}, KEY)
    np.testing.assert_array_equal(predictions["label"], labels)
    np.testing.assert_array_equal(predictions["predicted"], predicted)
    np.testing.assert_allclose(predictions["probability"], np.max(probabilities(outputs), axis=-1))


def test_per_example_returns_the_declared_metrics():
    task = Classification()
    assert list(task.metrics) == list(task.per_example(jnp.zeros((2, 1)), {"targets": jnp.zeros(2, jnp.int32)}, KEY))
    assert task.metrics == {"loss": False, "accuracy": True}
