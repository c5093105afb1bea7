"""Transforms of training batches: noise and augmentation.

A new transform is a new subclass of `Transform`, in this file or in a new one beside it. It runs on
the device inside the training step, so it is `jax.numpy` on arrays of fixed shapes.
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
    """A pure function of a batch and a key. `targets` stays clean unless a transform changes it too."""

    # What the examples must be (a spec's `holds`); None for any.
    modality: ClassVar[str | None] = None

    @abc.abstractmethod
    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        """Returns the changed batch.

        Args:
          batch: `inputs`, `targets`, `mask`, and `labels` where there are any, rows first.
          key: a key that is used for no other step.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoTransform(Transform):
    """Leaves the batch as it is."""

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        return batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianNoise(Transform):
    """Adds normal noise to the inputs: a denoising autoencoder (Vincent et al. 2010, section 3.3)."""

    modality: ClassVar[str | None] = "images"

    deviation: float = traced_field(0.1)
    """Standard deviation of the noise, in units of the inputs (pixels lie in [0, 1])."""

    def __post_init__(self):
        require_at_least(0, self, "deviation", prefix="data.transform.")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        inputs = batch["inputs"]
        noise = self.deviation * jax.random.normal(key, inputs.shape, inputs.dtype)
        return batch | {"inputs": inputs + noise}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordDropout(Transform):
    """Replaces real words by the out-of-vocabulary id at random (Iyyer et al. 2015, section 3.1, replace, not drop)."""

    modality: ClassVar[str | None] = "texts"

    rate: float = traced_field(0.1)
    """Probability that a word is replaced."""
    replacement_id: int = 2
    """The id that stands for a word outside the vocabulary; it and the ids below it are no words, and stay."""

    def __post_init__(self):
        require_fraction(self, "rate", prefix="data.transform.")
        require_at_least(1, self, "replacement_id", prefix="data.transform.")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        tokens = batch["inputs"]
        replaced = jax.random.bernoulli(key, self.rate, tokens.shape) & (tokens > self.replacement_id)
        return batch | {"inputs": jnp.where(replaced, self.replacement_id, tokens)}
