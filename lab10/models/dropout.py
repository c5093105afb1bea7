"""Dropout whose rate may be data."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from lab10.config.fields import is_static_zero


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014), like Flax's, except that the rate may be traced.

    It is on where `apply` is given an rng named `dropout`.

    Attributes:
      rate: share that is set to zero; a float, or float32 [] on the device.
      broadcast: dimensions along which all share one mask.
    """

    rate: float | jax.Array
    broadcast: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns an array of the same shape and dtype."""
        if is_static_zero(self.rate) or not self.has_rng("dropout"):
            return x
        shape = [1 if dimension in self.broadcast else size for dimension, size in enumerate(x.shape)]
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        return jnp.where(kept, x / (1 - self.rate), 0).astype(x.dtype)
