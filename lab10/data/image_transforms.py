"""Transforms that move the pixels of an image: random shifts and elastic deformations.

`inputs` and `targets` move alike, so an autoencoder has to reconstruct the image that it was given.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from lab10.config.fields import require_at_least, require_fraction, traced_field
from lab10.data.dataset import Spec
from lab10.data.images import ImageSpec
from lab10.data.transforms import Batch, Transform

Images = Float[Array, "batch height width channels"]
# Rows first, in pixels. An axis on which all displacements of an image are equal may have size 1.
Displacements = Float[Array, "batch 2 #height #width"]


class ImageTransform(Transform):
    """A transform that is called with images: `inputs` and `targets` are [batch, height, width, channels]."""

    modality: ClassVar[str | None] = "images"

    def apply(self, batch: Batch, key: jax.Array, spec: Spec) -> Batch:
        """Calls the transform with the rows of pixels as images, and flattens its images again."""
        assert isinstance(spec, ImageSpec)
        images = {name: batch[name].reshape(-1, *spec.shape) for name in ("inputs", "targets")}
        after = self(batch | images, key)
        return after | {name: after[name].reshape(-1, spec.num_values) for name in images}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomShift(ImageTransform):
    """Shifts images by whole pixels, so nothing is blurred; pixels shifted in have the value of the nearest edge."""

    max_shift: int = 1
    """Largest shift, in pixels; rows and columns are drawn uniformly and separately."""
    shift_rate: float = traced_field(0.5)
    """Probability that an image is shifted; a shift may also be drawn as 0."""

    def __post_init__(self):
        require_at_least(0, self, "max_shift")
        require_fraction(self, "shift_rate", below_1=False)

    def __call__(self, batch: Batch, key: jax.Array) -> Batch:
        displacements = self.displacements(key, *batch["inputs"].shape[:3])
        return batch | {name: warp(batch[name], displacements) for name in ("inputs", "targets")}

    def displacements(self, key: jax.Array, batch: int, height: int, width: int) -> Displacements:
        """Draws the displacement from each pixel of the new images to where it was in the old ones."""
        shift_key, choice_key = jax.random.split(key)
        shifts = jax.random.randint(shift_key, (batch, 2, 1, 1), -self.max_shift, self.max_shift + 1)
        return jnp.where(_is_chosen(choice_key, self.shift_rate, batch), shifts, 0).astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElasticDeformation(RandomShift):
    """Deforms images by smooth random displacements (Simard et al. 2003, section 2), then shifts them.

    The displacements are Gaussian noise, smoothed by a Gaussian. The paper scales uniform noise instead; its constants
    for MNIST, 34 and 4, are displacements of 1.4 pixels and a smoothness of 4. Bilinear interpolation blurs images.
    """

    deviation: float = traced_field(0.7)
    """Standard deviation of the displacements, in pixels."""
    smoothness: float = traced_field(4.0)
    """Standard deviation of the Gaussian that smooths the displacements, in pixels."""
    deformation_rate: float = traced_field(0.5)
    """Probability that an image is deformed."""

    def __post_init__(self):
        super().__post_init__()
        require_at_least(0, self, "deviation")
        require_at_least(1, self, "smoothness")
        require_fraction(self, "deformation_rate", below_1=False)

    def displacements(self, key: jax.Array, batch: int, height: int, width: int) -> Displacements:
        shift_key, noise_key, choice_key = jax.random.split(key, 3)
        noise = jax.random.normal(noise_key, (batch, 2, height, width))
        rows, columns = _smoothing_matrix(height, self.smoothness), _smoothing_matrix(width, self.smoothness)
        smooth = self.deviation * jnp.einsum("ij,bdjk,lk->bdil", rows, noise, columns)
        elastic = jnp.where(_is_chosen(choice_key, self.deformation_rate, batch), smooth, 0.0)
        return elastic + super().displacements(shift_key, batch, height, width)


def warp(images: Images, displacements: Displacements) -> Images:
    """Returns images whose pixel at (i, j) is that of `images` at (i, j) plus its displacement, interpolated linearly.

    Whole displacements copy pixels exactly.
    """
    height, width = images.shape[1:3]
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))

    def channel(pixels: jax.Array, coordinates: jax.Array) -> jax.Array:
        return map_coordinates(pixels, list(coordinates), order=1, mode="nearest")

    of_image = jax.vmap(channel, (-1, None), -1)
    return jax.vmap(of_image)(images, grid[None] + displacements)


def _smoothing_matrix(size: int, smoothness: float | jax.Array) -> Float[Array, "size size"]:
    """A matrix that smooths noise of variance 1 along an axis and keeps its variance, at the edges too."""
    distances = jnp.arange(size)[:, None] - jnp.arange(size)[None]
    weights = jnp.exp(-0.5 * (distances / smoothness) ** 2)
    return weights / jnp.linalg.norm(weights, axis=1, keepdims=True)


def _is_chosen(key: jax.Array, rate: float | jax.Array, batch: int) -> jax.Array:
    return jax.random.bernoulli(key, rate, (batch, 1, 1, 1))
