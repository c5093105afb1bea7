"""Transforms of training batches: noise and augmentation.

A new transform is a new subclass of `Transform`, in this file or in a new file next to it. Transforms
run on the device inside the training step, so they use `jax.numpy` on arrays of fixed shapes.
"""

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lab10.config.fields import require_at_least, require_fraction, traced_field

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform(abc.ABC):
    """A pure function of a batch and a key. `targets` stays clean unless the transform changes `targets` too."""

    # The `Spec.modality` that the transform accepts; None for any.
    modality: ClassVar[str | None] = None

    @abc.abstractmethod
    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        """Returns the changed batch.

        Args:
          batch: `inputs`, `targets`, `mask` and, if the dataset has labels, `labels`, rows first.
          key: random key, different for each step.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoTransform(Transform):
    """Returns the batch unchanged."""

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        return batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianNoise(Transform):
    """Adds Gaussian noise to the inputs, for denoising autoencoders (Vincent et al. 2010, section 3.3)."""

    modality: ClassVar[str | None] = "images"

    deviation: float = traced_field(0.1)
    """Standard deviation of the noise, in units of the inputs (pixels are in [0, 1])."""

    def __post_init__(self):
        require_at_least(0, self, "deviation", prefix="data.transform.")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        inputs = batch["inputs"]
        noise = self.deviation * jax.random.normal(key, inputs.shape, inputs.dtype)
        return batch | {"inputs": inputs + noise}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordDropout(Transform):
    """Replaces random words by the out-of-vocabulary id (Iyyer et al. 2015, section 3.1, but replaces, not drops)."""

    modality: ClassVar[str | None] = "texts"

    rate: float = traced_field(0.1)
    """Probability that a word is replaced."""
    replacement_id: int = 2
    """Id of words outside the vocabulary. This id and lower ids are not words and never replaced."""

    def __post_init__(self):
        require_fraction(self, "rate", prefix="data.transform.")
        require_at_least(1, self, "replacement_id", prefix="data.transform.")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        tokens = batch["inputs"]
        replaced = jax.random.bernoulli(key, self.rate, tokens.shape) & (tokens > self.replacement_id)
        return batch | {"inputs": jnp.where(replaced, self.replacement_id, tokens)}
