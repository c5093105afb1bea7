"""An LSTM that skips padding: Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, as in Keras."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

Carry = tuple[jax.Array, jax.Array]  # (cell, hidden), both [batch, hidden]


def forget_gate_one(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Zero biases but for the forget gate's, one (Jozefowicz et al. 2015, section 2.2; Keras's `unit_forget_bias`)."""
    input_gate, forget_gate, candidate, output_gate = jnp.split(jnp.zeros(shape, dtype), 4)
    return jnp.concatenate([input_gate, forget_gate + 1, candidate, output_gate])


class LSTMCell(nn.Module):
    """One step in time. Gates stand in the order input, forget, candidate, output in each kernel, as in Keras.

    Attributes:
      hidden: width of the state.
      dtype: of the computation; the parameters are float32.
    """

    hidden: int
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(
        self, carry: Carry, inputs: tuple[Float[Array, "batch features"], Bool[Array, " batch"]]
    ) -> tuple[Carry, Float[Array, "batch hidden"]]:
        """Moves the state one step on where the mask is true, and leaves it as it was elsewhere.

        Returns:
          The new (cell, hidden), and the hidden state again as this step's output.
        """
        features, mask = inputs
        cell, hidden = carry
        # One orthogonal [hidden, 4 hidden] matrix, not one for each gate: Keras draws it so.
        input_kernel = self.param(
            "input_kernel", nn.initializers.glorot_uniform(), (features.shape[-1], 4 * self.hidden)
        )
        recurrent_kernel = self.param("recurrent_kernel", nn.initializers.orthogonal(), (self.hidden, 4 * self.hidden))
        bias = self.param("bias", forget_gate_one, (4 * self.hidden,))
        input_kernel, recurrent_kernel, bias = (p.astype(self.dtype) for p in (input_kernel, recurrent_kernel, bias))

        gates = features @ input_kernel + hidden @ recurrent_kernel + bias[None]
        input_gate, forget_gate, candidate, output_gate = jnp.split(gates, 4, axis=-1)
        new_cell = nn.sigmoid(forget_gate) * cell + nn.sigmoid(input_gate) * jnp.tanh(candidate)
        new_hidden = nn.sigmoid(output_gate) * jnp.tanh(new_cell)

        kept = mask[:, None]
        new_cell, new_hidden = jnp.where(kept, new_cell, cell), jnp.where(kept, new_hidden, hidden)
        return (new_cell, new_hidden), new_hidden


class MaskedLSTM(nn.Module):
    """The cell scanned over time, one compiled step whatever the length.

    Attributes:
      hidden: width of the state.
      dtype: of the computation.
    """

    hidden: int
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch time features"], mask: Bool[Array, "batch time"]
    ) -> tuple[Carry, Float[Array, "batch time hidden"]]:
        """Reads sequences from a zero state.

        Args:
          features: what each step reads.
          mask: true where there is a step; elsewhere the state passes unchanged and no gradient flows to `features`.

        Returns:
          The last (cell, hidden), and the hidden state after every step.
        """
        zeros = jnp.zeros((features.shape[0], self.hidden), self.dtype)
        scan = nn.scan(LSTMCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1)
        return scan(self.hidden, self.dtype, name="cell")((zeros, zeros), (features.astype(self.dtype), mask))
