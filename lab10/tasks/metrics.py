"""Metrics as sums and counts, which can be merged over batches and devices."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

# On the device, fetched to the host, or added up there.
Scalar = jax.Array | np.ndarray | np.floating | float


class Metrics(struct.PyTreeNode):
    """Sums over examples, and their number.

    Attributes:
      totals: the sum of each metric over the examples.
      count: the number of examples.
    """

    totals: Mapping[str, Scalar]
    count: Scalar

    @classmethod
    def of(cls, per_example: Mapping[str, Float[Array, " batch"]], mask: Bool[Array, " batch"]) -> "Metrics":
        """Sums per-example values over the rows of a batch that are examples, float32."""
        totals = {name: jnp.sum(jnp.where(mask, values, 0.0)) for name, values in per_example.items()}
        return cls(totals, jnp.sum(mask, dtype=jnp.float32))

    @classmethod
    def empty(cls) -> "Metrics":
        """Returns the metrics of no examples; merging them changes nothing."""
        return cls({}, 0.0)

    def merge(self, other: "Metrics") -> "Metrics":
        """Returns the metrics of both sets of examples."""
        names = self.totals.keys() | other.totals.keys()
        return Metrics(
            {name: self.totals.get(name, 0.0) + other.totals.get(name, 0.0) for name in names}, self.count + other.count
        )

    def means(self) -> dict[str, float]:
        """Returns the mean of each metric over the examples; NaN if there are none."""
        count = float(self.count)
        names = sorted(self.totals, key=lambda name: (name != "loss", name))  # the loss first
        return {name: float(self.totals[name]) / count if count else math.nan for name in names}
