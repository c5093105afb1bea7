"""Dropout with a rate that may be traced."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from lab10.config.fields import is_static_zero


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014). Unlike Flax's, the rate may be a traced array.

    Dropout is active if `apply` has an rng named `dropout`.

    Attributes:
      rate: fraction that is set to zero; a float, or float32 [] on the device.
      broadcast: dimensions along which the mask is the same.
    """

    rate: float | jax.Array
    broadcast: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies dropout; keeps the shape and the dtype."""
        if is_static_zero(self.rate) or not self.has_rng("dropout"):
            return x
        shape = [1 if dimension in self.broadcast else size for dimension, size in enumerate(x.shape)]
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        return jnp.where(kept, x / (1 - self.rate), 0).astype(x.dtype)
