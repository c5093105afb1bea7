"""Runs an LSTM's recurrence over a whole sequence in one Pallas kernel, for GPUs and TPUs.

`jax.lax.scan` launches several kernels per time step on a GPU. Here one kernel reads the whole sequence forward and one
backward, and the recurrent weights stay on the chip (as in cuDNN, Appleyard et al. 2016; and Diamos et al. 2016). The
large products before and after stay outside, see `fused_lstm`.

The kernels are written in Pallas. On a GPU each program reads the sequences of `GPU_ROWS` rows in a loop; on a TPU, the
grid runs over time, so that the next step is loaded while this one is computed. Both call the same step functions.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Platform = Literal["gpu", "tpu"]

# Rows of a batch per program; matrix products on a GPU need at least 16 rows and columns.
GPU_ROWS = 16
# With recurrent weights of twice that size, the kernel for the backward pass exceeds the shared memory of an A100.
MAX_GPU_KERNEL_BYTES = 2**16
# The recurrent weights, and two copies of what a step reads and writes, in the 16 MiB that Mosaic may use of a v5e.
MAX_TPU_BYTES = 12 * 2**20
# Arrays [batch, hidden] that a step reads or writes, at most: 12 of the backward step, and its states.
_ARRAYS_PER_STEP = 16


def fits(platform: Platform, batch: int, hidden: int, dtype: DTypeLike) -> bool:
    """Returns whether the kernels can hold what they need on the chip."""
    itemsize = jnp.dtype(dtype).itemsize
    if platform == "gpu":
        return 4 * _power_of_two(hidden) ** 2 * itemsize <= MAX_GPU_KERNEL_BYTES
    columns = -(-hidden // 128) * 128
    return 4 * hidden * columns * itemsize + 2 * _ARRAYS_PER_STEP * batch * columns * 4 <= MAX_TPU_BYTES


class States(NamedTuple):
    """What the recurrence computes for every step, float32.

    Attributes:
      tanhs: tanh of the four gates' arguments, [time, 4, batch, hidden].
      cells: [time, batch, hidden].
      hiddens: [time, batch, hidden].
    """

    tanhs: jax.Array
    cells: jax.Array
    hiddens: jax.Array


def recurrence(
    projected: Float[Array, "time 4 batch hidden"],
    is_step: Float[Array, "time batch 1"],
    kernel: Float[Array, "4 hidden hidden"],
    carry: tuple[Float[Array, "batch hidden"], Float[Array, "batch hidden"]],
    platform: Platform,
    interpret: bool = False,
) -> States:
    """Runs an LSTM over projected inputs; the kernel's dtype is the dtype of its products.

    Args:
      projected: inputs times the input weights plus the bias, float32. This and `kernel` are scaled so that every gate
        is one tanh: the input, forget and output gates are halved.
      is_step: 1 for steps, 0 for padding, which keeps the state.
      kernel: recurrent weights of each gate.
      carry: (cell, hidden) before the first step, float32.
      platform: platform to compile the kernel for.
      interpret: whether to run the kernel in Pallas's interpreter: slow, on any device.
    """
    time, _, batch, hidden = projected.shape
    sequence, gates = (time, batch, hidden), (time, 4, batch, hidden)
    tanhs, cells, hiddens, *_ = _call(
        forward_step, [projected, is_step], kernel, carry, [gates, sequence, sequence], False, platform, interpret
    )
    return States(tanhs, cells, hiddens)


def recurrence_gradient(
    factors: Sequence[jax.Array],
    kernel: Float[Array, "4 hidden hidden"],
    d_carry: tuple[Float[Array, "batch hidden"], Float[Array, "batch hidden"]],
    platform: Platform,
    interpret: bool = False,
) -> tuple[Float[Array, "time 4 batch hidden"], Float[Array, "batch hidden"], Float[Array, "batch hidden"]]:
    """Runs the derivative of the recurrence backward in time.

    Args:
      factors: `to_gates` [time, 4, batch, hidden], `hidden_to_cell` and `cell_to_cell` [time, batch, hidden], `passed`
        [time, batch, 1], as computed by `fused_lstm`; and the gradient of each step's output, if there is one.
      kernel: transposed recurrent weights of each gate.
      d_carry: gradient of the last (cell, hidden).
      platform: platform to compile the kernel for.
      interpret: whether to run the kernel in Pallas's interpreter: slow, on any device.

    Returns:
      The gradient of the gates' arguments, and that of the first cell and hidden state.
    """
    d_gates, d_cell, d_hidden = _call(
        backward_step, factors, kernel, d_carry, [factors[0].shape], True, platform, interpret
    )
    return d_gates, d_cell, d_hidden


def forward_step(
    inputs: Sequence[Any], kernel: list[jax.Array], carry: tuple[jax.Array, jax.Array]
) -> tuple[list[Any], tuple[jax.Array, jax.Array]]:
    """Advances the state by one step.

    Args:
      inputs: for each input of the kernel, its value at this step; for gates, a list of four.
      kernel: recurrent weights of each gate.
      carry: (cell, hidden).

    Returns:
      For each output of the kernel, its value at this step; and the new (cell, hidden).
    """
    projected, is_step = inputs
    cell, hidden = carry
    tanhs = [jnp.tanh(projected[gate] + _product(hidden, kernel[gate])) for gate in range(4)]
    input_gate, forget_gate, output_gate = (0.5 * tanhs[gate] + 0.5 for gate in (0, 1, 3))
    new_cell = jnp.where(is_step > 0, forget_gate * cell + input_gate * tanhs[2], cell)
    new_hidden = jnp.where(is_step > 0, output_gate * jnp.tanh(new_cell), hidden)
    return [tanhs, new_cell, new_hidden], (new_cell, new_hidden)


def backward_step(
    inputs: Sequence[Any], kernel: list[jax.Array], carry: tuple[jax.Array, jax.Array]
) -> tuple[list[Any], tuple[jax.Array, jax.Array]]:
    """Propagates the gradients of the state back by one step; arguments and results as in `forward_step`."""
    to_gates, hidden_to_cell, cell_to_cell, passed, *d_output = inputs
    d_cell, d_hidden = carry
    if d_output:
        d_hidden = d_hidden + d_output[0]
    d_cell = d_cell + d_hidden * hidden_to_cell
    d_gates = [(d_hidden if gate == 3 else d_cell) * to_gates[gate] for gate in range(4)]
    d_before = sum(_product(d_gate, gate_kernel) for d_gate, gate_kernel in zip(d_gates, kernel, strict=True))
    return [d_gates], (d_cell * cell_to_cell, d_before + passed * d_hidden)


def _product(rows: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.dot(rows.astype(kernel.dtype), kernel, preferred_element_type=jnp.float32)


def _call(
    step: Callable[..., Any],
    inputs: Sequence[jax.Array],
    kernel: jax.Array,
    carry: tuple[jax.Array, jax.Array],
    outputs: list[tuple[int, ...]],
    reverse: bool,
    platform: Platform,
    interpret: bool,
) -> list[jax.Array]:
    """Runs `step` over time in one kernel; returns its outputs of every step, and the last carry."""
    time, batch, hidden = len(inputs[0]), *carry[0].shape
    call, rows, columns = _tpu_call, batch, hidden
    if platform == "gpu":
        # Zeros in the rows and columns that are added stay zeros.
        call, rows, columns = _gpu_call, -(-batch // GPU_ROWS) * GPU_ROWS, _power_of_two(hidden)

    def padded(array: jax.Array) -> jax.Array:
        widths = [(0, 0)] * array.ndim
        widths[-2] = (0, rows - batch)
        widths[-1] = (0, columns - hidden if array.shape[-1] == hidden else 0)
        return jnp.pad(array, widths)

    kernel = jnp.pad(kernel, [(0, 0), (0, columns - hidden), (0, columns - hidden)])
    shapes = [jax.ShapeDtypeStruct((*shape[:-2], rows, columns), jnp.float32) for shape in outputs]
    shapes += [jax.ShapeDtypeStruct((rows, columns), jnp.float32)] * 2
    # No compiler reports the operations inside a kernel: scripts/compile.py reads them from the name, and multiplies
    # them if the first result is larger, for several runs or directions at once.
    with jax.named_scope(f"flops={2 * 4 * time * batch * hidden**2}_for={math.prod(shapes[0].shape)}"):
        results = call(step, [*map(padded, inputs)], kernel, [*map(padded, carry)], shapes, time, reverse, interpret)
    return [result[..., :batch, :hidden] for result in results]


def _write(refs: Sequence[Any], values: Sequence[Any], t: Any) -> None:
    for ref, value in zip(refs, values, strict=True):
        if isinstance(value, list):
            for gate, array in enumerate(value):
                ref[t, gate] = array
        else:
            ref[t] = value


def _read(ref: Any, t: Any) -> Any:
    return [ref[t, gate] for gate in range(4)] if len(ref.shape) == 4 else ref[t]


def _gpu_call(step, inputs, kernel, carry, shapes, time, reverse, interpret) -> Sequence[jax.Array]:
    """Runs a program per `GPU_ROWS` rows, which loops over time."""
    # Here, because importing Pallas is slow, and a CPU does not need it.
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    num_inputs, num_outputs = len(inputs), len(shapes) - 2

    def body(*refs: Any) -> None:
        input_refs, (kernel_ref, cell, hidden), output_refs = (
            refs[:num_inputs],
            refs[num_inputs : num_inputs + 3],
            refs[num_inputs + 3 :],
        )
        kernels = [kernel_ref[gate] for gate in range(4)]

        def loop_body(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            t = time - 1 - i if reverse else i
            written, carry = step([_read(ref, t) for ref in input_refs], kernels, carry)
            _write(output_refs[:num_outputs], written, t)
            return carry

        last = jax.lax.fori_loop(0, time, loop_body, (cell[...], hidden[...]))
        for ref, value in zip(output_refs[num_outputs:], last, strict=True):
            ref[...] = value

    def spec(array: jax.Array | jax.ShapeDtypeStruct) -> pl.BlockSpec:
        leading = array.ndim - 2
        return pl.BlockSpec(
            (*array.shape[:-2], GPU_ROWS, array.shape[-1]), lambda program: (*(0,) * leading, program, 0)
        )

    kernel_spec = pl.BlockSpec(kernel.shape, lambda program: (0, 0, 0))
    return pl.pallas_call(
        body,
        grid=(carry[0].shape[0] // GPU_ROWS,),
        in_specs=[*map(spec, inputs), kernel_spec, *map(spec, carry)],
        out_specs=[*map(spec, shapes)],
        out_shape=shapes,
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=4),
    )(*inputs, kernel, *carry)


def _tpu_call(step, inputs, kernel, carry, shapes, time, reverse, interpret) -> Sequence[jax.Array]:
    """Runs a grid over time; the state stays in scratch memory between its steps."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    num_inputs, num_outputs = len(inputs), len(shapes) - 2

    def body(*refs: Any) -> None:
        input_refs, (kernel_ref, *first), output_refs, scratch = (
            refs[:num_inputs],
            refs[num_inputs : num_inputs + 3],
            refs[num_inputs + 3 : -2],
            refs[-2:],
        )

        @pl.when(pl.program_id(0) == 0)
        def _() -> None:
            for ref, value in zip(scratch, first, strict=True):
                ref[...] = value[...]

        kernels = [kernel_ref[gate] for gate in range(4)]
        written, new = step([_read(ref, 0) for ref in input_refs], kernels, tuple(ref[...] for ref in scratch))
        _write(output_refs[:num_outputs], written, 0)
        for state_refs in (scratch, output_refs[num_outputs:]):
            for ref, value in zip(state_refs, new, strict=True):
                ref[...] = value

    def spec(array: jax.Array | jax.ShapeDtypeStruct) -> pl.BlockSpec:
        if array.ndim == 2:
            return pl.BlockSpec(array.shape, lambda t: (0, 0))
        others = (0,) * (array.ndim - 1)
        return pl.BlockSpec((1, *array.shape[1:]), lambda t: (time - 1 - t if reverse else t, *others))

    # One buffer: under vmap, the weights of the next member would be loaded into another one, which may not fit.
    kernel_spec = pl.BlockSpec(kernel.shape, lambda t: (0, 0, 0), pipeline_mode=pl.Buffered(1))
    return pl.pallas_call(
        body,
        grid=(time,),
        in_specs=[*map(spec, inputs), kernel_spec, *map(spec, carry)],
        out_specs=[*map(spec, shapes)],
        out_shape=shapes,
        scratch_shapes=[pltpu.VMEM(carry[0].shape, jnp.float32)] * 2,
        interpret=interpret,
        compiler_params=None if interpret else pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
    )(*inputs, kernel, *carry)


def _power_of_two(size: int) -> int:
    """Returns the least power of two that is at least `size` and at least 16, as Triton's arrays need."""
    return max(16, 1 << (size - 1).bit_length())
