"""Exact PCA: the reference for linear autoencoders, without training."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PCA:
    """An orthonormal basis of the subspace with the least squared error.

    Attributes:
      components: float64 [latent, features], rows orthonormal, in order of decreasing variance.
      mean: float64 [features]; zeros if the data are not centered.
    """

    components: Float[np.ndarray, "latent features"]
    mean: Float[np.ndarray, " features"]

    def encode(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch latent"]:
        """Returns coordinates in the basis."""
        return (x - self.mean) @ self.components.T

    def reconstruct(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch features"]:
        """Returns projections onto the subspace: no linear map of this latent size is closer to the fitted data."""
        return self.encode(x) @ self.components + self.mean

    def errors(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, " batch"]:
        """Returns the squared error of each row, summed over features."""
        return np.sum((x - self.reconstruct(x)) ** 2, axis=1)


def fit_pca(chunks: Iterable[Float[np.ndarray, "_ features"]], latent: int, *, center: bool) -> PCA:
    """Fits the subspace of least squared error (Eckart and Young 1936), from the second moments.

    Every chunk is read once, so the rows need not fit in memory. Without centering, the minimum is
    that of a linear autoencoder without bias.

    Args:
      chunks: chunks of rows, float64 or exactly convertible to float64.
      latent: dimension of the subspace; at most the number of features is used.
      center: whether to subtract the mean first.

    Raises:
      ValueError: the chunks have no rows.
    """
    count, total, moments = 0, 0.0, 0.0
    for chunk in chunks:
        chunk = np.asarray(chunk, np.float64)
        count, total, moments = count + len(chunk), total + chunk.sum(axis=0), moments + chunk.T @ chunk
    if count == 0:
        raise ValueError("PCA has no rows to fit; expected at least one")
    mean = np.asarray(total) / count if center else np.zeros_like(np.asarray(total))
    _, vectors = np.linalg.eigh(np.asarray(moments) / count - np.outer(mean, mean))
    return PCA(vectors[:, ::-1].T[:latent], mean)
