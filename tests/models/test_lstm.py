"""Initial parameters and computation dtype of the LSTM; properties/ tests its equations and its mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import apply, init_with_output

from lab10.models.lstm import LSTMCell, MaskedLSTM, forget_gate_bias_init

HIDDEN, FEATURES = 32, 64


@pytest.fixture(scope="module")
def params():
    module = MaskedLSTM(HIDDEN)
    return module.init(jax.random.key(0), jnp.zeros((1, 1, FEATURES)), jnp.ones((1, 1), bool))["params"]["cell"]


def test_the_recurrent_kernel_is_one_orthogonal_matrix_and_not_four(params):
    kernel = np.asarray(params["recurrent_kernel"], np.float64)
    assert kernel.shape == (HIDDEN, 4 * HIDDEN)
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(HIDDEN), atol=1e-5)
    gate = kernel[:, :HIDDEN]
    assert np.abs(gate @ gate.T - np.eye(HIDDEN)).max() > 0.1, "no gate's part is orthogonal by itself"


def test_the_input_kernel_is_glorot_uniform_over_all_gates(params):
    limit = np.sqrt(6 / (FEATURES + 4 * HIDDEN))
    kernel = np.asarray(params["input_kernel"])
    assert kernel.shape == (FEATURES, 4 * HIDDEN)
    assert 0.98 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)


def test_only_the_forget_gate_starts_with_a_bias_of_one(params):
    expected = np.repeat([0.0, 1.0, 0.0, 0.0], HIDDEN)  # input, forget, candidate, output
    np.testing.assert_array_equal(params["bias"], expected)
    np.testing.assert_array_equal(
        forget_gate_bias_init(jax.random.key(0), (8,), jnp.dtype("float32")), [0, 0, 1, 1, 0, 0, 0, 0]
    )


def test_parameters_are_shared_by_all_steps(params):
    longer = jnp.zeros((2, 9, FEATURES)), jnp.ones((2, 9), bool)
    of_longer = init_with_output(MaskedLSTM(HIDDEN), jax.random.key(0), *longer)[1]["params"]["cell"]
    assert jax.tree.map(jnp.shape, of_longer) == jax.tree.map(jnp.shape, params)


def test_the_last_hidden_state_is_the_last_output():
    features = jax.random.normal(jax.random.key(1), (5, 3, 2))
    module = MaskedLSTM(4)
    mask = jnp.array([[True] * 5, [False, True] * 2 + [False], [True] + [False] * 4]).T
    ((_, hidden), outputs), _ = init_with_output(module, jax.random.key(0), features, mask)
    np.testing.assert_array_equal(hidden, outputs[-1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_computing_in_another_dtype_keeps_the_parameters_float32(dtype):
    module = MaskedLSTM(4, jnp.dtype(dtype))
    features, mask = jax.random.normal(jax.random.key(1), (3, 5, 2)), jnp.ones((3, 5), bool)
    (carry, outputs), variables = init_with_output(module, jax.random.key(0), features, mask)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert outputs.dtype == carry[0].dtype == jnp.dtype(dtype)
    _, in_float32 = apply(MaskedLSTM(4), variables, features, mask)
    np.testing.assert_allclose(outputs.astype(jnp.float32), in_float32, atol=0.03)
    assert np.any(np.asarray(outputs, np.float32) != np.asarray(in_float32))


def test_both_implementations_start_with_the_same_parameters(params):
    reference = MaskedLSTM(HIDDEN, implementation="reference")
    of_reference = reference.init(jax.random.key(0), jnp.zeros((1, 1, FEATURES)), jnp.ones((1, 1), bool))["params"]
    jax.tree.map(np.testing.assert_array_equal, of_reference, {"cell": params})


def test_a_cell_returns_its_state_as_its_output():
    carry = (jnp.ones((2, 3)), jnp.full((2, 3), 0.5))
    ((_, hidden), output), _ = init_with_output(
        LSTMCell(3), jax.random.key(0), carry, (jnp.ones((2, 1)), jnp.array([True, False]))
    )
    np.testing.assert_array_equal(output, hidden)
    np.testing.assert_array_equal(hidden[1], carry[1][1])
