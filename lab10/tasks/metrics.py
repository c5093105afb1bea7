"""Metrics as sums and counts, which can be merged over batches, devices, and the parts of a split."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

# On the device, fetched to the host, or summed on the host.
Scalar = jax.Array | np.ndarray | np.floating | float


class Metrics(struct.PyTreeNode):
    """Sums of metrics over examples, and the number of examples.

    Attributes:
      totals: sum of each metric over the examples.
      count: number of examples.
      diagnostics: values that describe the last step, such as the norm of its gradient; NaN at steps that are not
        logged.
    """

    # Scalars; [steps] or [steps, members] in the loop over steps; or the shapes of these.
    totals: Mapping[str, Any]
    count: Any
    diagnostics: Mapping[str, Any] = struct.field(default_factory=dict)

    @classmethod
    def of(cls, per_example: Mapping[str, Float[Array, " batch"]], mask: Bool[Array, " batch"]) -> "Metrics":
        """Sums over the rows of a batch where `mask` is true, float32."""
        totals = {name: jnp.sum(jnp.where(mask, values, 0.0)) for name, values in per_example.items()}
        return cls(totals, jnp.sum(mask, dtype=jnp.float32))

    @classmethod
    def empty(cls) -> "Metrics":
        """Metrics of no examples; merging them changes nothing."""
        return cls({}, 0.0)

    def merge(self, other: "Metrics") -> "Metrics":
        """Returns the metrics of both sets of examples together."""
        names = self.totals.keys() | other.totals.keys()
        return Metrics(
            {name: self.totals.get(name, 0.0) + other.totals.get(name, 0.0) for name in names},
            self.count + other.count,
            other.diagnostics or self.diagnostics,
        )

    def means(self) -> dict[str, float]:
        """Mean of each metric over the examples, the loss first; NaN if there are no examples."""
        count = float(self.count)
        names = sorted(self.totals, key=lambda name: (name != "loss", name))
        return {name: float(self.totals[name]) / count if count else math.nan for name in names}
