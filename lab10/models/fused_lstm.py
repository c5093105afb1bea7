"""A masked LSTM with a custom derivative: the fast twin of `nn.scan` over `LSTMCell`.

Autodiff of a scanned cell spends most of its time in the backward scan. Here:

- The input projection is one matrix product before the scan; its gradients are products after the
  backward scan.
- The backward scan computes only the gradients of the gates. The gradient of the recurrent kernel is
  one matrix product over all steps after the scan.
- The factors that the backward scan needs are computed for all steps at once before the scan.
- All four gates are one tanh over contiguous memory: sigmoid(x) = (1 + tanh(x / 2)) / 2. The factor
  1/2 is folded into the kernels, which is exact for a power of two.

Matrix products take inputs in the dtype of the features and accumulate in float32. Everything else
is float32: rounding tanh to bfloat16 would lose a gate that is nearly 0 or 1.
"""

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

Carry = tuple[jax.Array, jax.Array]  # (cell, hidden), both [batch, hidden]


def fused_lstm(
    features: Float[Array, "time batch features"],
    mask: Bool[Array, "time batch"],
    input_kernel: Float[Array, "features gates"],
    recurrent_kernel: Float[Array, "hidden gates"],
    bias: Float[Array, " gates"],
) -> tuple[Carry, Float[Array, "time batch hidden"]]:
    """Reads sequences from a zero state.

    Args:
      features: inputs of each step. Their dtype is the dtype of the matrix products and the outputs.
      mask: true for steps, false for padding, which keeps the state.
      input_kernel: float32, gates in the order input, forget, candidate, output.
      recurrent_kernel: float32, gates in the same order.
      bias: float32, gates in the same order.

    Returns:
      The last (cell, hidden), and the hidden state after every step.
    """
    outputs = _fused_lstm(features, mask, input_kernel, recurrent_kernel, bias)
    return jax.tree.map(lambda output: output.astype(features.dtype), outputs)


def _matmul(left: jax.Array, right: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Returns the product, float32, of `left` and `right` rounded to `dtype`."""
    return jnp.matmul(left.astype(dtype), right.astype(dtype), preferred_element_type=jnp.float32)


def _gate_scale(recurrent_kernel: Float[Array, "hidden gates"]) -> Float[Array, "1 gates"]:
    """Returns 1 for the candidate, whose activation is tanh, and 1/2 for the gates, whose activation is sigmoid."""
    half = jnp.full((1, recurrent_kernel.shape[0]), 0.5, recurrent_kernel.dtype)
    return jnp.concatenate([half, half, 2 * half, half], axis=1)


def _gates(tanhs: Float[Array, "*shape gates"]) -> list[Float[Array, "*shape hidden"]]:
    """Returns the input gate, the forget gate, the candidate and the output gate."""
    input_gate, forget_gate, candidate, output_gate = jnp.split(tanhs, 4, axis=-1)
    return [0.5 * input_gate + 0.5, 0.5 * forget_gate + 0.5, candidate, 0.5 * output_gate + 0.5]


def _forward(features, mask, input_kernel, recurrent_kernel, bias) -> tuple[Carry, tuple[jax.Array, ...]]:
    """Returns the last (cell, hidden); for every step the tanhs [time, batch, 4 hidden], cell and hidden state."""
    scale = _gate_scale(recurrent_kernel)
    kernel = recurrent_kernel * scale
    projected = _matmul(features, input_kernel * scale, features.dtype) + (bias[None] * scale)[None]

    def step(carry: Carry, inputs: tuple[jax.Array, jax.Array]) -> tuple[Carry, tuple[jax.Array, ...]]:
        cell, hidden = carry
        projection, is_step = inputs
        tanhs = jnp.tanh(projection + _matmul(hidden, kernel, features.dtype))
        input_gate, forget_gate, candidate, output_gate = _gates(tanhs)
        new_cell = jnp.where(is_step, forget_gate * cell + input_gate * candidate, cell)
        new_hidden = jnp.where(is_step, output_gate * jnp.tanh(new_cell), hidden)
        return (new_cell, new_hidden), (tanhs, new_cell, new_hidden)

    zeros = jnp.zeros((features.shape[1], recurrent_kernel.shape[0]))
    return jax.lax.scan(step, (zeros, zeros), (projected, mask[..., None]))


@jax.custom_vjp
def _fused_lstm(features, mask, input_kernel, recurrent_kernel, bias):
    last, (_, _, hiddens) = _forward(features, mask, input_kernel, recurrent_kernel, bias)
    return last, hiddens


def _forward_with_residuals(*primals):
    inputs = tuple(primal.value for primal in primals)
    last, states = _forward(*inputs)
    return (last, states[-1]), (inputs, states)


def _backward(residuals, cotangents):
    (features, mask, input_kernel, recurrent_kernel, _), (tanhs, cells, hiddens) = residuals
    # A symbolic zero, for an output that the loss does not use, becomes None and costs nothing.
    (d_cell, d_hidden), d_hiddens = jax.tree.map(
        lambda leaf: None if isinstance(leaf, SymbolicZero) else leaf,
        cotangents,
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    zeros = jnp.zeros_like(cells[:1])
    cells_before, hiddens_before = (jnp.concatenate([zeros, states[:-1]]) for states in (cells, hiddens))
    input_gate, forget_gate, candidate, output_gate = _gates(tanhs)
    tanh_cells = jnp.tanh(cells)
    is_step, scale = mask[..., None], _gate_scale(recurrent_kernel)

    # With c = f c' + i g and h = o tanh(c), the gradient of each tanh's argument is `to_gates` times the
    # gradient of the cell (for i, f and g) or of the hidden state (for o). Masked steps pass both gradients on.
    factors = jnp.concatenate([candidate, cells_before, input_gate, tanh_cells], axis=-1)
    to_gates = jnp.where(is_step, factors * (1 - tanhs * tanhs) * scale[None], 0)
    hidden_to_cell = jnp.where(is_step, output_gate * (1 - tanh_cells * tanh_cells), 0)
    cell_to_cell = jnp.where(is_step, forget_gate, 1)
    passed = 1 - is_step.astype(cells.dtype)
    transposed = (recurrent_kernel * scale).T

    def step(carry, inputs):
        d_cell, d_hidden = carry
        to_gates, hidden_to_cell, cell_to_cell, passed, d_output = inputs
        d_hidden = d_hidden if d_output is None else d_hidden + d_output
        d_cell = d_cell + d_hidden * hidden_to_cell
        d_gates = jnp.concatenate([d_cell, d_cell, d_cell, d_hidden], axis=-1) * to_gates
        return (d_cell * cell_to_cell, _matmul(d_gates, transposed, features.dtype) + passed * d_hidden), d_gates

    start = tuple(jnp.zeros_like(cells[0]) if d_last is None else d_last for d_last in (d_cell, d_hidden))
    inputs = (to_gates, hidden_to_cell, cell_to_cell, passed, d_hiddens)
    _, d_gates = jax.lax.scan(step, start, inputs, reverse=True)

    def kernel_gradient(states: jax.Array) -> jax.Array:
        # Contracts time and batch without merging them: merged, rows that are sharded over devices would be gathered.
        states, rows = states.astype(features.dtype), d_gates.astype(features.dtype)
        return jnp.einsum("tbi,tbg->ig", states, rows, preferred_element_type=jnp.float32) * scale

    d_input_kernel, d_recurrent_kernel = kernel_gradient(features), kernel_gradient(hiddens_before)
    d_features = _matmul(d_gates, (input_kernel * scale).T, features.dtype).astype(features.dtype)
    return d_features, None, d_input_kernel, d_recurrent_kernel, jnp.sum(d_gates, axis=(0, 1)) * scale[0]


_fused_lstm.defvjp(_forward_with_residuals, _backward, symbolic_zeros=True)
