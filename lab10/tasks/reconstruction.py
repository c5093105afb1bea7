"""Reconstruction: the squared error of the autoencoder lab."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lab10.data.dataset import Batch
from lab10.tasks.task import PerExample, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(Task):
    """Squared error summed over pixels in [0, 1].

    The mean over images is comparable with the errors that Hinton and Salakhutdinov (2006) report.
    """

    metrics: ClassVar[dict[str, bool]] = {"loss": False, "reconstruction_error": False}
    output_type: ClassVar[str] = "pixels"

    def per_example(self, outputs: jax.Array, batch: Batch, key: jax.Array) -> PerExample:
        error = jnp.sum((outputs - batch["targets"]) ** 2, axis=-1)
        return {"loss": error, "reconstruction_error": error}
