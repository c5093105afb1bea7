"""A masked LSTM with a custom derivative: the fast twin of `nn.scan` over `LSTMCell`.

Autodiff of a scanned cell spends most of its time in the backward scan. Here:

- The input projection is one matrix product before the scan; its gradients are products after the
  backward scan.
- The backward scan computes only the gradients of the gates. The gradient of the recurrent kernel is
  one matrix product over all steps after the scan.
- The factors that the backward scan needs are computed for all steps at once before the scan.
- On GPUs and TPUs each of the two scans is a single kernel, if it fits (`lstm_kernels`).
- All four gates are one tanh over contiguous memory: sigmoid(x) = (1 + tanh(x / 2)) / 2. The factor
  1/2 is folded into the kernels, which is exact for a power of two.

Matrix products take inputs in the dtype of the features and accumulate in float32. Everything else
is float32: rounding tanh to bfloat16 would lose a gate that is nearly 0 or 1.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from lab10.models import lstm_kernels
from lab10.models.devices import num_devices, platform_dependent

Carry = tuple[jax.Array, jax.Array]  # (cell, hidden), both [batch, hidden]
Recurrence = Literal["auto", "scan", "interpreted gpu", "interpreted tpu"]


def fused_lstm(
    features: Float[Array, "time batch features"],
    mask: Bool[Array, "time batch"],
    input_kernel: Float[Array, "features gates"],
    recurrent_kernel: Float[Array, "hidden gates"],
    bias: Float[Array, " gates"],
    carry: Carry | None = None,
    recurrence: Recurrence = "auto",
) -> tuple[Carry, Float[Array, "time batch hidden"]]:
    """Runs an LSTM over sequences, starting from `carry`.

    Args:
      features: inputs of each step. Their dtype is the dtype of the matrix products and the outputs.
      mask: true for steps, false for padding, which keeps the state.
      input_kernel: float32, gates in the order input, forget, candidate, output.
      recurrent_kernel: float32, gates in the same order.
      bias: float32, gates in the same order.
      carry: (cell, hidden) before the first step; None: zeros.
      recurrence: how to run over time. `auto` uses one Pallas kernel on GPUs and TPUs if it fits, and a scan elsewhere;
        `scan` always scans; `interpreted …` emulates the kernel of that platform on any device, for tests.

    Returns:
      The last (cell, hidden), and the hidden state after every step.
    """
    if carry is None:
        zeros = jnp.zeros((features.shape[1], recurrent_kernel.shape[0]))
        carry = (zeros, zeros)
    carry = jax.tree.map(lambda state: state.astype(jnp.float32), carry)
    outputs = _fused_lstm(recurrence, features, mask, input_kernel, recurrent_kernel, bias, carry)
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


def _forward(
    recurrence: Recurrence, features, mask, input_kernel, recurrent_kernel, bias, carry
) -> tuple[Carry, tuple[jax.Array, ...]]:
    """Returns the last (cell, hidden); for every step the tanhs [time, batch, 4 hidden], cell and hidden state."""
    scale = _gate_scale(recurrent_kernel)
    kernel = recurrent_kernel * scale
    projected = _matmul(features, input_kernel * scale, features.dtype) + (bias[None] * scale)[None]
    run = _scan_or_kernel(recurrence, _scan_forward, _kernel_forward, features, carry)
    return run(projected, mask[..., None], kernel, carry)


def _scan_forward(projected, is_step, kernel, carry, dtype):
    kernel = kernel.astype(dtype)  # here, because XLA would round it again at every time step

    def step(carry: Carry, inputs: tuple[jax.Array, jax.Array]) -> tuple[Carry, tuple[jax.Array, ...]]:
        cell, hidden = carry
        projection, is_step = inputs
        tanhs = jnp.tanh(projection + _matmul(hidden, kernel, dtype))
        input_gate, forget_gate, candidate, output_gate = _gates(tanhs)
        new_cell = jnp.where(is_step, forget_gate * cell + input_gate * candidate, cell)
        new_hidden = jnp.where(is_step, output_gate * jnp.tanh(new_cell), hidden)
        return (new_cell, new_hidden), (tanhs, new_cell, new_hidden)

    return jax.lax.scan(step, carry, (projected, is_step))


def _kernel_forward(projected, is_step, kernel, carry, dtype, platform, interpret):
    kernels = kernel.reshape(len(kernel), 4, -1).swapaxes(0, 1).astype(dtype)
    states = lstm_kernels.recurrence(
        _gates_first(projected), is_step.astype(jnp.float32), kernels, carry, platform, interpret
    )
    return (states.cells[-1], states.hiddens[-1]), (_gates_last(states.tanhs), states.cells, states.hiddens)


def _scan_backward(factors, transposed, d_carry, dtype):
    transposed = transposed.astype(dtype)

    def step(carry, inputs):
        d_cell, d_hidden = carry
        to_gates, hidden_to_cell, cell_to_cell, passed, d_output = inputs
        d_hidden = d_hidden if d_output is None else d_hidden + d_output
        d_cell = d_cell + d_hidden * hidden_to_cell
        d_gates = jnp.concatenate([d_cell, d_cell, d_cell, d_hidden], axis=-1) * to_gates
        return (d_cell * cell_to_cell, _matmul(d_gates, transposed, dtype) + passed * d_hidden), d_gates

    return jax.lax.scan(step, d_carry, factors, reverse=True)


def _kernel_backward(factors, transposed, d_carry, dtype, platform, interpret):
    to_gates, *others = factors
    kernels = transposed.reshape(4, -1, transposed.shape[-1]).astype(dtype)
    factors = [_gates_first(to_gates), *(factor for factor in others if factor is not None)]
    d_gates, *d_first = lstm_kernels.recurrence_gradient(factors, kernels, d_carry, platform, interpret)
    return tuple(d_first), _gates_last(d_gates)


def _gates_first(rows: Float[Array, "time batch gates"]) -> Float[Array, "time 4 batch hidden"]:
    time, batch, _ = rows.shape
    return rows.reshape(time, batch, 4, -1).swapaxes(1, 2)


def _gates_last(rows: Float[Array, "time 4 batch hidden"]) -> Float[Array, "time batch gates"]:
    time, _, batch, _ = rows.shape
    return rows.swapaxes(1, 2).reshape(time, batch, -1)


def _scan_or_kernel(
    recurrence: Recurrence, scan: Callable[..., Any], kernel: Callable[..., Any], features: jax.Array, carry: Carry
) -> Callable[..., Any]:
    """Returns the function that runs over time: `scan`, or `kernel` if the platform has one that fits."""
    (batch, hidden), dtype, devices = carry[0].shape, features.dtype, num_devices()

    def kernel_for(platform: lstm_kernels.Platform, interpret: bool = False) -> Callable[..., Any]:
        run = functools.partial(kernel, dtype=dtype, platform=platform, interpret=interpret)
        return run if devices == 1 else _sharded_over_rows(run)

    scan = functools.partial(scan, dtype=dtype)
    if recurrence == "scan":
        return scan
    if recurrence != "auto":
        return kernel_for("gpu" if recurrence == "interpreted gpu" else "tpu", interpret=True)
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    if batch % devices or precision not in (None, "default", "highest"):  # Pallas knows no other precision
        return scan
    platforms: dict[str, lstm_kernels.Platform] = {"cuda": "gpu", "tpu": "tpu"}
    kernels = {
        name: kernel_for(platform)
        for name, platform in platforms.items()
        if lstm_kernels.fits(platform, batch // devices, hidden, dtype)
    }
    return lambda *arguments: platform_dependent(*arguments, default=scan, **kernels)


def _merge_time_and_batch(rows: Float[Array, "time batch columns"]) -> Float[Array, "rows columns"]:
    return rows.reshape(-1, rows.shape[-1])


def _sharded_over_rows(run: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a kernel on every device, on that device's rows of the batch. By itself, XLA would gather the rows first."""
    axes = jax.sharding.get_abstract_mesh().axis_names
    sequences, rows, replicated = PartitionSpec(None, axes), PartitionSpec(axes), PartitionSpec()

    def spec(array: jax.Array | jax.ShapeDtypeStruct) -> PartitionSpec:
        return sequences if array.ndim == 3 else rows

    def sharded(*arguments: Any) -> Any:
        *sequence, _, carry = arguments
        specs = (*jax.tree.map(spec, tuple(sequence)), replicated, jax.tree.map(spec, carry))
        results = jax.tree.map(spec, jax.eval_shape(run, *arguments))
        return jax.shard_map(run, in_specs=specs, out_specs=results, check_vma=False)(*arguments)

    return sharded


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused_lstm(recurrence, features, mask, input_kernel, recurrent_kernel, bias, carry):
    last, (_, _, hiddens) = _forward(recurrence, features, mask, input_kernel, recurrent_kernel, bias, carry)
    return last, hiddens


def _forward_with_residuals(recurrence, *primals):
    inputs = jax.tree.map(lambda primal: primal.value, primals, is_leaf=lambda leaf: hasattr(leaf, "perturbed"))
    last, states = _forward(recurrence, *inputs)
    return (last, states[-1]), (inputs, states)


def _backward(recurrence, residuals, cotangents):
    (features, mask, input_kernel, recurrent_kernel, _, first), (tanhs, cells, hiddens) = residuals
    # A symbolic zero, for an output that the loss does not use, becomes None and costs nothing.
    (d_cell, d_hidden), d_hiddens = jax.tree.map(
        lambda leaf: None if isinstance(leaf, SymbolicZero) else leaf,
        cotangents,
        is_leaf=lambda leaf: isinstance(leaf, SymbolicZero),
    )
    cells_before, hiddens_before = (
        jnp.concatenate([state[None], states[:-1]]) for state, states in zip(first, (cells, hiddens), strict=True)
    )
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

    start = tuple(jnp.zeros_like(cells[0]) if d_last is None else d_last for d_last in (d_cell, d_hidden))
    run = _scan_or_kernel(recurrence, _scan_backward, _kernel_backward, features, first)
    inputs = (to_gates, hidden_to_cell, cell_to_cell, passed, d_hiddens)
    d_first, d_gates = run(inputs, (recurrent_kernel * scale).T, start)

    def kernel_gradient(states: jax.Array) -> jax.Array:
        if num_devices() == 1:  # on a CPU, merging time and batch saves a fifth of a training step
            return _matmul(_merge_time_and_batch(states).T, _merge_time_and_batch(d_gates), features.dtype) * scale
        # To merge rows that are sharded over devices, XLA would gather them.
        states, rows = states.astype(features.dtype), d_gates.astype(features.dtype)
        return jnp.einsum("tbi,tbg->ig", states, rows, preferred_element_type=jnp.float32) * scale

    d_input_kernel, d_recurrent_kernel = kernel_gradient(features), kernel_gradient(hiddens_before)
    d_bias = jnp.sum(d_gates, axis=(0, 1)) * scale[0]
    d_features = _matmul(d_gates, (input_kernel * scale).T, features.dtype).astype(features.dtype)
    return d_features, None, d_input_kernel, d_recurrent_kernel, d_bias, d_first


_fused_lstm.defvjp(_forward_with_residuals, _backward, symbolic_zeros=True)
