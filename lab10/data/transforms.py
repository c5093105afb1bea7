"""Transforms of training batches: noise and augmentation. `image_transforms.py` has those that move pixels.

A new transform is a new subclass of `Transform`, in this file or in a new file next to it. Transforms
run on the device inside the training step, so they use `jax.numpy` on arrays of fixed shapes.
"""

import abc
import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp

from lab10.config.errors import UserError
from lab10.config.fields import require_at_least, require_fraction, traced_field

if TYPE_CHECKING:
    from lab10.data.dataset import Spec

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform(abc.ABC):
    """A pure function of a batch and a key. `targets` stays clean unless the transform changes `targets` too."""

    option_prefix: ClassVar[str] = "data.transform."

    # The `Spec.modality` that the transform accepts; None for any.
    modality: ClassVar[str | None] = None

    @abc.abstractmethod
    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        """Returns the batch to train on.

        Args:
          batch: `inputs`, `targets`, `mask`, `row_ids` and, if the dataset has labels, `labels`, rows first.
          key: random key, different for each step.
        """

    def require_fits(self, spec: "Spec") -> None:
        """Checks that the transform fits the examples of a dataset.

        Raises:
          UserError: the examples are of another modality.
        """
        if self.modality not in (None, spec.modality):
            raise UserError(
                f"The transform {type(self).__name__} transforms {self.modality}, "
                f"but the dataset contains {spec.modality}."
            )

    def apply(self, batch: Batch, key: jax.Array, spec: "Spec") -> Batch:
        """Calls the transform in a training step. One that needs the spec, such as the image size, overrides it."""
        return self(batch, key)

    def for_evaluation(self, batch: Batch) -> Batch:
        """Returns the batch to evaluate: by default the clean batch.

        What is drawn here is drawn once: it may depend on the example and its `row_ids`, but on no seed of the run and
        not on the other rows of the batch.
        """
        return batch


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
        require_at_least(0, self, "deviation")

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        inputs = batch["inputs"]
        noise = self.deviation * jax.random.normal(key, inputs.shape, inputs.dtype)
        return batch | {"inputs": inputs + noise}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Binarize(Transform):
    """Draws each pixel as 0 or 1, with its intensity as the probability of 1 (Salakhutdinov and Murray 2008).

    In training it is drawn anew at each step, in evaluation once for each image of a split, with seed 0.
    """

    modality: ClassVar[str | None] = "images"

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        return self._with_pixels(batch, jax.random.uniform(key, batch["inputs"].shape))

    def for_evaluation(self, batch: Batch) -> Batch:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), batch["row_ids"])
        return self._with_pixels(batch, jax.vmap(lambda key: jax.random.uniform(key, batch["inputs"].shape[1:]))(keys))

    def _with_pixels(self, batch: Batch, uniform: jax.Array) -> Batch:
        pixels = (uniform < batch["inputs"]).astype(jnp.float32)  # uniform is below 1, so white stays white
        return batch | {"inputs": pixels, "targets": pixels}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordDropout(Transform):
    """Replaces random words by the out-of-vocabulary id (Iyyer et al. 2015, section 3.1, but replaces, not drops)."""

    modality: ClassVar[str | None] = "texts"

    rate: float = traced_field(0.1)
    """Probability that a word is replaced."""
    replacement_id: int = 2
    """Id of words outside the vocabulary. This id and lower ids are not words and never replaced."""

    def __post_init__(self):
        require_fraction(self, "rate")
        require_at_least(1, self, "replacement_id")

    def require_fits(self, spec: "Spec") -> None:
        super().require_fits(spec)
        if (max_ngram := getattr(spec, "max_ngram", 1)) > 1:
            raise UserError(
                "The transform WordDropout replaces words alone, but the inputs also hold n-grams, because "
                f"--data.max-ngram is {max_ngram}; expected 1. NBSVM has --model.dropout, which leaves out n-grams."
            )

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        tokens = batch["inputs"]
        replaced = jax.random.bernoulli(key, self.rate, tokens.shape) & (tokens > self.replacement_id)
        return batch | {"inputs": jnp.where(replaced, self.replacement_id, tokens)}
