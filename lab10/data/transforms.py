"""Pure changes to a training batch on its way into the model: noise and augmentation.

A new transform is a new subclass of `Transform`, in this file or in a new one beside it. It runs on
the device inside the training step, so it is `jax.numpy` on arrays of fixed shapes.
"""

import dataclasses

import jax
import jax.numpy as jnp

from lab10.errors import UserError

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """A pure function of a batch and a key. `targets` stays clean unless a transform changes it too."""

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        """Returns the changed batch.

        Args:
          batch: `inputs`, `targets`, `mask`, and `labels` where there are any, rows first.
          key: a key that is used for no other step.
        """
        raise TypeError(f"{type(self).__name__} does not say what it does to a batch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoTransform(Transform):
    """Leaves the batch as it is."""

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        return batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianNoise(Transform):
    """Adds normal noise to the inputs: a denoising autoencoder (Vincent et al. 2010, section 3.3)."""

    deviation: float = 0.1
    """Standard deviation of the noise, in units of the inputs (pixels lie in [0, 1])."""

    def __post_init__(self):
        if not self.deviation >= 0:
            raise UserError(f"--data.transform.deviation is {self.deviation}; expected at least 0.")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        inputs = batch["inputs"]
        noise = self.deviation * jax.random.normal(key, inputs.shape, inputs.dtype)
        return batch | {"inputs": inputs + noise}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordDropout(Transform):
    """Replaces real words by the out-of-vocabulary id at random (Iyyer et al. 2015, section 3.1, replace rather than drop)."""

    rate: float = 0.1
    """Probability that a word is replaced."""
    replacement_id: int = 2
    """The id that stands for a word outside the vocabulary."""

    def __post_init__(self):
        if not 0 <= self.rate < 1:
            raise UserError(f"--data.transform.rate is {self.rate}; expected at least 0 and below 1.")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        tokens = batch["inputs"]
        replaced = jax.random.bernoulli(key, self.rate, tokens.shape) & (tokens != 0)
        return batch | {"inputs": jnp.where(replaced, self.replacement_id, tokens)}
