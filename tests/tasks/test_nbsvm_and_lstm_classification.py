"""Each classifier of an ensemble has its own loss, and the prediction is that of their weighted logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.models.nbsvm_and_lstm import NBSVMAndLSTMLogits
from lab10.tasks.classification import Classification, probabilities
from lab10.tasks.nbsvm_and_lstm_classification import NBSVMAndLSTMClassification

KEY = jax.random.key(0)


def outputs_of(classes):
    random = np.random.default_rng(0)
    nbsvm, lstms = random.normal(size=(5, classes)), random.normal(size=(2, 5, classes))
    return NBSVMAndLSTMLogits(jnp.asarray(nbsvm, jnp.float32), jnp.asarray(lstms, jnp.float32))


@pytest.mark.parametrize("classes", [1, 3])
def test_every_term_is_that_of_a_classifier_alone(classes):
    outputs = outputs_of(classes)
    batch = {"targets": jnp.array([0, 1, 1, 0, 1]), "mask": jnp.ones(5, bool)}

    def alone(logits):
        return Classification().per_example(logits, batch, KEY)

    task = NBSVMAndLSTMClassification(lstm_weight=0.3)
    values = task.checked_per_example(outputs, batch, KEY)
    nbsvm, one, other = alone(outputs.nbsvm), alone(outputs.lstms[0]), alone(outputs.lstms[1])
    mean = alone((outputs.lstms[0] + outputs.lstms[1]) / 2)
    combined = alone(0.7 * outputs.nbsvm + 0.3 * outputs.lstms.mean(axis=0))
    expected = {
        "loss": nbsvm["loss"] + (one["loss"] + other["loss"]) / 2,
        "accuracy": combined["accuracy"],
        "combined_loss": combined["loss"],
        "nbsvm_loss": nbsvm["loss"],
        "nbsvm_accuracy": nbsvm["accuracy"],
        "lstm_loss": (one["loss"] + other["loss"]) / 2,
        "lstm_accuracy": mean["accuracy"],
    }
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, err_msg=name)


def test_no_gradient_depends_on_the_other_classifier():
    batch = {"targets": jnp.array([0, 1, 1, 0, 1])}

    def loss(outputs):
        return NBSVMAndLSTMClassification().per_example(outputs, batch, KEY)["loss"].sum()

    outputs = outputs_of(1)
    gradient, other = jax.grad(loss)(outputs), jax.grad(loss)(outputs._replace(nbsvm=5 * outputs.nbsvm))
    np.testing.assert_array_equal(gradient.lstms, other.lstms)
    assert not np.array_equal(gradient.nbsvm, other.nbsvm)


def test_predictions_are_those_of_the_combined_logits_and_name_each_part():
    outputs, batch = outputs_of(1), {"targets": jnp.array([0, 1, 1, 0, 1])}
    task = NBSVMAndLSTMClassification(lstm_weight=0.25)
    found = task.extra_columns(outputs, batch, KEY)
    np.testing.assert_allclose(found["probabilities"], probabilities(task.logits(outputs)), rtol=1e-6)
    np.testing.assert_allclose(found["nbsvm_probabilities"], probabilities(outputs.nbsvm), rtol=1e-6)
    np.testing.assert_allclose(found["lstm_probabilities"], probabilities(outputs.lstms.mean(axis=0)), rtol=1e-6)
    np.testing.assert_array_equal(found["predicted"], found["probabilities"].argmax(axis=-1))


@pytest.mark.parametrize(("weight", "part"), [(0.0, "nbsvm"), (1.0, "lstm")])
def test_a_weight_at_an_end_leaves_one_classifier(weight, part):
    batch = {"targets": jnp.array([0, 1, 1, 0, 1])}
    values = NBSVMAndLSTMClassification(lstm_weight=weight).per_example(outputs_of(3), batch, KEY)
    np.testing.assert_array_equal(values["accuracy"], values[f"{part}_accuracy"])


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_of_0_to_1_is_refused(weight):
    with pytest.raises(UserError, match=r"--task\.lstm-weight is .*; expected at least 0 and at most 1"):
        NBSVMAndLSTMClassification(lstm_weight=weight)
