"""An LSTM that skips padding: Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, as in Keras."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from lab10.models.devices import num_devices, platform_dependent
from lab10.models.fused_lstm import Carry, Recurrence, fused_lstm

Implementation = Literal["auto", "reference", "fused"]
# The input kernel, the recurrent kernel and the bias.
Kernels = tuple[jax.Array, jax.Array, jax.Array]
# The last (cell, hidden), and the hidden state after every step.
Direction = tuple[Carry, Float[Array, "time batch hidden"]]


def forget_gate_bias_init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Returns zeros, ones for the forget gate (Jozefowicz et al. 2015, section 2.2; Keras's `unit_forget_bias`)."""
    input_gate, forget_gate, candidate, output_gate = jnp.split(jnp.zeros(shape, dtype), 4)
    return jnp.concatenate([input_gate, forget_gate + 1, candidate, output_gate])


class LSTMCell(nn.Module):
    """One time step of an LSTM. Each kernel has the gates in the order input, forget, candidate, output, as in Keras.

    Attributes:
      hidden_size: width of the state.
      dtype: dtype of the computation; parameters are float32.
    """

    hidden_size: int
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def kernels(self, features: int) -> Kernels:
        """Returns `input_kernel` [features, 4 hidden], `recurrent_kernel` [hidden, 4 hidden] and `bias` [4 hidden]."""
        # One orthogonal [hidden, 4 hidden] matrix, not one matrix per gate, as in Keras.
        input_kernel = self.param("input_kernel", nn.initializers.glorot_uniform(), (features, 4 * self.hidden_size))
        recurrent_kernel = self.param(
            "recurrent_kernel", nn.initializers.orthogonal(), (self.hidden_size, 4 * self.hidden_size)
        )
        bias = self.param("bias", forget_gate_bias_init, (4 * self.hidden_size,))
        return input_kernel, recurrent_kernel, bias

    def __call__(
        self, carry: Carry, inputs: tuple[Float[Array, "batch features"], Bool[Array, " batch"]]
    ) -> tuple[Carry, Float[Array, "batch hidden"]]:
        """Advances the state by one step where the mask is true, and keeps the state elsewhere.

        Returns:
          The new (cell, hidden), and the hidden state again as this step's output.
        """
        features, mask = inputs
        cell, hidden = carry
        kernels = self.kernels(features.shape[-1])
        input_kernel, recurrent_kernel, bias = (kernel.astype(self.dtype) for kernel in kernels)

        gates = features @ input_kernel + hidden @ recurrent_kernel + bias[None]
        input_gate, forget_gate, candidate, output_gate = jnp.split(gates, 4, axis=-1)
        new_cell = nn.sigmoid(forget_gate) * cell + nn.sigmoid(input_gate) * jnp.tanh(candidate)
        new_hidden = nn.sigmoid(output_gate) * jnp.tanh(new_cell)

        is_step = mask[:, None]
        new_cell, new_hidden = jnp.where(is_step, new_cell, cell), jnp.where(is_step, new_hidden, hidden)
        return (new_cell, new_hidden), new_hidden


class MaskedLSTM(nn.Module):
    """An LSTM over time, scanned with one compiled step. Both implementations have the same parameters.

    Attributes:
      hidden_size: width of the state.
      dtype: dtype of the computation.
      implementation: `reference` scans the cell; `fused` scans with a derivative written by hand (`fused_lstm`);
        `auto` also uses one kernel forward and one backward on GPUs and TPUs, if they fit.
    """

    hidden_size: int
    dtype: jnp.dtype = jnp.dtype("float32")
    implementation: Implementation = "auto"

    def setup(self):
        self.cell = LSTMCell(self.hidden_size, self.dtype)

    def __call__(
        self,
        features: Float[Array, "time batch features"],
        mask: Bool[Array, "time batch"],
        carry: Carry | None = None,
    ) -> tuple[Carry, Float[Array, "time batch hidden"]]:
        """Reads sequences, time first.

        Args:
          features: inputs of each step.
          mask: true for steps, false for padding, which keeps the state and passes no gradient to `features`.
          carry: (cell, hidden) before the first step; None: zeros.

        Returns:
          The last (cell, hidden), and the hidden state after every step.
        """
        features = features.astype(self.dtype)
        if self.implementation != "reference":
            recurrence: Recurrence = "scan" if self.implementation == "fused" else "auto"
            return fused_lstm(features, mask, *self.kernels(features.shape[-1]), carry, recurrence)
        if carry is None:
            zeros = jnp.zeros((features.shape[1], self.hidden_size), self.dtype)
            carry = (zeros, zeros)
        scan = nn.scan(
            lambda cell, carry, inputs: cell(carry, inputs),
            variable_broadcast="params",
            split_rngs={"params": False},
        )
        return scan(self.cell, carry, (features, mask))

    def kernels(self, features: int) -> Kernels:
        """Returns the cell's parameters for inputs of that width, as `LSTMCell.kernels` does."""
        return self.cell.kernels(features)


def read_both_ways(
    forward: MaskedLSTM,
    backward: MaskedLSTM,
    features: Float[Array, "time batch features"],
    mask: Bool[Array, "time batch"],
) -> tuple[Direction, Direction]:
    """Runs one LSTM from the first step to the last and another one from the last to the first.

    With the implementation `auto`, both are one scan or kernel on GPUs and TPUs, which halves the launches. They run in
    turn if the rows cannot be divided evenly among the devices: together, XLA would exchange the state at every step.

    Returns:
      For each LSTM, its last (cell, hidden), and the hidden state after every step, in the order of `features`.
    """
    is_auto = forward.implementation == backward.implementation == "auto"
    if not is_auto or features.shape[1] % num_devices():
        last, backward_states = backward(features[::-1], mask[::-1])
        return forward(features, mask), (last, backward_states[::-1])
    features = features.astype(forward.dtype)
    kernels = [lstm.kernels(features.shape[-1]) for lstm in (forward, backward)]
    return platform_dependent(features, mask, *kernels, default=run_together, cpu=run_in_turn)


def run_in_turn(
    features: jax.Array, mask: jax.Array, kernels: Kernels, backward_kernels: Kernels
) -> tuple[Direction, Direction]:
    """Runs `fused_lstm` for each direction of `read_both_ways`, which is faster than together on a CPU."""
    last, backward_states = fused_lstm(features[::-1], mask[::-1], *backward_kernels)
    return fused_lstm(features, mask, *kernels), (last, backward_states[::-1])


def run_together(
    features: jax.Array, mask: jax.Array, kernels: Kernels, backward_kernels: Kernels
) -> tuple[Direction, Direction]:
    """Runs `fused_lstm` once for both directions of `read_both_ways`."""
    input_kernel, recurrent_kernel, bias = (jnp.stack(pair) for pair in zip(kernels, backward_kernels, strict=True))
    both = jnp.stack([features, features[::-1]]), jnp.stack([mask, mask[::-1]])
    (cell, hidden), states = jax.vmap(fused_lstm)(*both, input_kernel, recurrent_kernel, bias)
    return ((cell[0], hidden[0]), states[0]), ((cell[1], hidden[1]), states[1][::-1])
