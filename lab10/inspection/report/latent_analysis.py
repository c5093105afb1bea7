"""Projections and traversals of the latent space of an autoencoder, and the filters of its decoder."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float

from lab10.models.pca import fit_pca

Filters = Float[np.ndarray, "filters pixels"]


@dataclasses.dataclass(frozen=True)
class Projection:
    """Latent vectors projected onto their first two principal components.

    Attributes:
      points: coordinates; the second is 0 if the latent size is 1.
      explained_variance_ratio: fraction of the variance that each coordinate explains.
    """

    points: Float[np.ndarray, "examples 2"]
    explained_variance_ratio: tuple[float, float]


def project(latents: Float[np.ndarray, "examples latent_dim"]) -> Projection:
    """Projects latent vectors onto their first two principal components."""
    pca = fit_pca([latents], 2, center=True)
    points = np.zeros((len(latents), 2))
    points[:, : len(pca.components)] = pca.encode(latents.astype(np.float64))
    total = float(latents.var(axis=0, dtype=np.float64).sum()) or 1.0
    return Projection(points, (float(points[:, 0].var() / total), float(points[:, 1].var() / total)))


def traverse(
    decode: Callable[[np.ndarray], np.ndarray],
    latents: Float[np.ndarray, "examples latent_dim"],
    directions: int,
    deviations: Float[np.ndarray, " steps"],
) -> Float[np.ndarray, "directions steps pixels"]:
    """Decodes latent vectors on straight lines through their mean, along their principal components.

    Args:
      decode: maps latent vectors [rows, latent_dim] to images [rows, pixels].
      latents: latent vectors of a split.
      directions: number of lines, in order of decreasing variance; at most the number of latent dimensions.
      deviations: positions on each line, as distances from the mean in standard deviations along that line.
    """
    pca = fit_pca([latents], directions, center=True)
    along = pca.encode(latents.astype(np.float64)).std(axis=0)
    points = pca.mean + deviations[None, :, None] * (along[:, None] * pca.components)[:, None, :]
    images = decode(points.reshape(-1, latents.shape[1]).astype(np.float32))
    return images.reshape(len(pca.components), len(deviations), -1)


def decoder_filters(params: Any, components: Float[np.ndarray, "components pixels"]) -> Filters | None:
    """Returns the image that each input of the decoder's last layer adds, [inputs, pixels].

    They are sorted by the norm of their projection onto the principal components, the largest first, because weights
    to pixels that are always blank mean nothing.

    Args:
      params: parameters of an autoencoder.
      components: principal components of the images, orthonormal.

    Returns:
      The filters; None if the decoder does not end in a dense layer.
    """
    kernels = [np.asarray(leaf) for leaf in jax.tree.leaves(params.get("decoder", {})) if leaf.ndim == 2]
    last = [kernel for kernel in kernels if kernel.shape[1] == components.shape[1]]
    if not last:
        return None
    drawn = np.linalg.norm(last[-1] @ components.T, axis=1)
    return last[-1][np.argsort(-drawn, kind="stable")]


def project_onto_span(
    images: Float[np.ndarray, "images pixels"], filters: Filters
) -> Float[np.ndarray, "images pixels"]:
    """Returns the orthogonal projection of each image onto the span of the filters.

    The squares of a projected image of norm 1 sum to 1 if the span contains the image; for a random span, they sum to
    about its dimension divided by the number of pixels.
    """
    basis = scipy.linalg.orth(filters.T.astype(np.float64))
    return images @ basis @ basis.T
