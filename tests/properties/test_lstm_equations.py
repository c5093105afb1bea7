"""Both LSTMs against a Python loop over its cell, and against the equations written out in NumPy, float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from lab10.models.lstm import LSTMCell, MaskedLSTM

# batch, time, features, hidden: few, since each is compiled.
SHAPES = ((1, 1, 1, 1), (3, 7, 4, 5), (2, 12, 3, 2))

cases = st.sampled_from(SHAPES).flatmap(
    lambda shape: st.tuples(st.just(shape), numpy_strategies.arrays(bool, shape[:2]), st.integers(0, 2**32 - 1))
)
ALL, NONE = np.ones((3, 7), bool), np.zeros((3, 7), bool)
FRONT = np.arange(7)[None] >= np.array([[2], [6], [7]])
BACK = FRONT[:, ::-1].copy()
HOLES = np.arange(7)[None] % np.array([[2], [3], [4]]) == 0


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_in_numpy(features, mask, input_kernel, recurrent_kernel, bias):
    """Hochreiter and Schmidhuber 1997 with a forget gate, gate by gate; Keras's order of gates: i, f, c, o."""
    (w_i, w_f, w_c, w_o), (u_i, u_f, u_c, u_o) = (
        np.split(input_kernel, 4, axis=1),
        np.split(recurrent_kernel, 4, axis=1),
    )
    b_i, b_f, b_c, b_o = np.split(bias, 4)
    batch, time, _ = features.shape
    cell, hidden = np.zeros((batch, len(b_i))), np.zeros((batch, len(b_i)))
    outputs = np.zeros((batch, time, len(b_i)))
    for row in range(batch):
        for step in range(time):
            if mask[row, step]:
                x, h = features[row, step], hidden[row]
                i, f, o = (
                    sigmoid(x @ w_i + h @ u_i + b_i),
                    sigmoid(x @ w_f + h @ u_f + b_f),
                    sigmoid(x @ w_o + h @ u_o + b_o),
                )
                cell[row] = f * cell[row] + i * np.tanh(x @ w_c + h @ u_c + b_c)
                hidden[row] = o * np.tanh(cell[row])
            outputs[row, step] = hidden[row]
    return cell, hidden, outputs


@functools.cache
def over_time(hidden, implementation):
    return jax.jit(MaskedLSTM(hidden, implementation=implementation).apply)


@functools.cache
def stepped(hidden):
    return jax.jit(LSTMCell(hidden).apply)


@pytest.mark.parametrize("implementation", ["reference", "fused"])
@given(case=cases)
@example(case=(SHAPES[1], ALL, 0))
@example(case=(SHAPES[1], NONE, 0))
@example(case=(SHAPES[1], FRONT, 0))
@example(case=(SHAPES[1], BACK, 0))
@example(case=(SHAPES[1], HOLES, 0))
def test_the_lstm_equals_a_python_loop_and_the_equations(implementation, case):
    (batch, time, width, hidden), mask, seed = case
    random = np.random.default_rng(seed)
    features = random.normal(size=(batch, time, width)).astype(np.float32)
    weights = {
        "input_kernel": random.normal(size=(width, 4 * hidden)).astype(np.float32),
        "recurrent_kernel": random.normal(size=(hidden, 4 * hidden)).astype(np.float32),
        "bias": random.normal(size=4 * hidden).astype(np.float32),
    }

    time_first = features.swapaxes(0, 1), mask.T
    (cell, last), outputs = over_time(hidden, implementation)({"params": {"cell": weights}}, *time_first)
    outputs = outputs.swapaxes(0, 1)

    carry, looped = (jnp.zeros((batch, hidden)), jnp.zeros((batch, hidden))), []
    for step in range(time):
        carry, output = stepped(hidden)({"params": weights}, carry, (features[:, step], mask[:, step]))
        looped.append(output)
    np.testing.assert_allclose(cell, carry[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(last, carry[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs, np.stack(looped, axis=1), rtol=1e-5, atol=1e-5)

    in_float64 = lstm_in_numpy(
        features.astype(np.float64), mask, **{name: value.astype(np.float64) for name, value in weights.items()}
    )
    for found, expected in zip((cell, last, outputs), in_float64, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
