"""Exact principal components: the reference for linear autoencoders, without training."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PCA:
    """An orthonormal basis of the best subspace.

    Attributes:
      components: float64 [latent, features], rows orthonormal, the most important first.
      mean: float64 [features], zeros where the data were not centred.
    """

    components: Float[np.ndarray, "latent features"]
    mean: Float[np.ndarray, " features"]

    def encode(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch latent"]:
        """Coordinates in the basis."""
        return (x - self.mean) @ self.components.T

    def reconstruct(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch features"]:
        """The projections onto the subspace: no linear map of this latent size comes closer on the data fitted."""
        return self.encode(x) @ self.components + self.mean

    def errors(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, " batch"]:
        """Squared error of each row, summed over its features."""
        return np.sum((x - self.reconstruct(x)) ** 2, axis=1)


def fit_pca(chunks: Iterable[Float[np.ndarray, "_ features"]], latent: int, *, centred: bool) -> PCA:
    """The subspace of least squared error (Eckart and Young 1936), from the second moments.

    The rows come in chunks and are seen once, so they need not fit in memory. Without centring the
    optimum is that of a linear autoencoder without bias.

    Args:
      chunks: of rows, float64 or exactly convertible to it.
      latent: dimensions of the subspace; more than there are features means all of them.
      centred: whether the mean is taken out first.
    """
    count, total, moments = 0, 0.0, 0.0
    for chunk in chunks:
        chunk = np.asarray(chunk, np.float64)
        count, total, moments = count + len(chunk), total + chunk.sum(axis=0), moments + chunk.T @ chunk
    if count == 0:
        raise ValueError("PCA of no rows")
    mean = np.asarray(total) / count if centred else np.zeros_like(np.asarray(total))
    _, vectors = np.linalg.eigh(np.asarray(moments) / count - np.outer(mean, mean))
    return PCA(vectors[:, ::-1].T[:latent], mean)
