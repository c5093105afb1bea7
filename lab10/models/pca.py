"""Exact PCA: the reference for linear autoencoders, without training."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float

# With more features, the matrix of second moments takes too long to decompose, in one call that no signal can stop.
MAX_MOMENTS_FEATURES = 2048
# Few rows of many features, up to this many bytes, are decomposed through the products of the rows instead.
MAX_ROWS_BYTES = 2**29
# With further directions next to those wanted, the iteration needs fewer passes over the data (Halko et al. 2011).
MAX_OVERSAMPLING = 100
# Squared error, relative to the least possible one, that the iteration may leave out.
TOLERANCE = 1e-5
MIN_PASSES, MAX_PASSES = 3, 200
# Memory for the matrices [features, directions] of the iteration, of which it holds about four at a time.
MAX_BYTES = 2**31


class TooExpensive(Exception):
    """A computation that would exceed its limit on time or memory; the message says which."""


@dataclasses.dataclass(frozen=True)
class PCA:
    """An orthonormal basis of the subspace with the least squared error.

    Attributes:
      components: float64 [latent_dim, features], rows orthonormal, in order of decreasing variance.
      mean: float64 [features]; zeros if the data are not centered.
    """

    components: Float[np.ndarray, "latent_dim features"]
    mean: Float[np.ndarray, " features"]

    def encode(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch latent_dim"]:
        """Returns coordinates in the basis."""
        return (x - self.mean) @ self.components.T

    def reconstruct(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, "batch features"]:
        """Returns projections onto the subspace: no linear map of this latent size is closer to the fitted data."""
        return self.encode(x) @ self.components + self.mean

    def errors(self, x: Float[np.ndarray, "batch features"]) -> Float[np.ndarray, " batch"]:
        """Returns the squared error of each row, summed over features."""
        return np.sum((x - self.reconstruct(x)) ** 2, axis=1)


def fit_pca(
    chunks: Iterable[Float[np.ndarray, "_ features"]], latent_dim: int, *, center: bool, max_seconds: float = math.inf
) -> PCA:
    """Fits the subspace of least squared error (Eckart and Young 1936).

    The rows need not fit in memory. Up to `MAX_MOMENTS_FEATURES` features, one pass over them gives the second
    moments, which are decomposed. With more, few rows are decomposed through their products, and for many rows subspace
    iteration makes several passes, until the squared error is within 1e-4 of the least possible one, relatively.
    Without centering, the minimum is that of a linear autoencoder without bias.

    Args:
      chunks: chunks of rows, float64 or exactly convertible to float64; iterated once for each pass.
      latent_dim: dimension of the subspace; at most the number of features, or of few rows, is used.
      center: whether to subtract the mean first.
      max_seconds: time limit, checked between two chunks.

    Raises:
      ValueError: the chunks have no rows.
      TypeError: the chunks are an iterator, such as a generator, which can be iterated only once.
      TooExpensive: the time limit, or `MAX_BYTES`, would be exceeded.
    """
    if isinstance(chunks, Iterator):
        raise TypeError("fit_pca may iterate over the chunks several times; expected a list or another iterable object")
    check_time = _time_limit(max_seconds)
    chunks_of_pass = iter(chunks)
    first = next(chunks_of_pass, None)
    if first is None:
        raise ValueError("PCA has no rows to fit; expected at least one")
    if first.shape[1] > MAX_MOMENTS_FEATURES:
        rows = _few_rows(itertools.chain([first], chunks_of_pass), check_time)
        if rows is not None:
            return _fit_few_rows(rows, latent_dim, center)
        return _subspace_iteration(chunks, first.shape[1], latent_dim, center, max_seconds)
    count, total, moments = 0, 0.0, 0.0
    for chunk in itertools.chain([first], chunks_of_pass):
        check_time()
        chunk = np.asarray(chunk, np.float64)
        count, total, moments = count + len(chunk), total + chunk.sum(axis=0), moments + chunk.T @ chunk
    if count == 0:
        raise ValueError("PCA has no rows to fit; expected at least one")
    mean = np.asarray(total) / count if center else np.zeros_like(np.asarray(total))
    _, vectors = np.linalg.eigh(np.asarray(moments) / count - np.outer(mean, mean))
    return PCA(vectors[:, ::-1].T[:latent_dim], mean)


def _few_rows(
    chunks: Iterable[Float[np.ndarray, "_ features"]], check_time: Callable[[], None]
) -> Float[np.ndarray, "rows features"] | None:
    """Returns all rows as float64; None if they are more than `MAX_MOMENTS_FEATURES`, or than `MAX_ROWS_BYTES`."""
    rows: list[np.ndarray] = []
    count = 0
    for chunk in chunks:
        check_time()
        count += len(chunk)
        if count > MAX_MOMENTS_FEATURES or 8 * count * chunk.shape[1] > MAX_ROWS_BYTES:
            return None
        rows.append(np.asarray(chunk, np.float64))
    return np.concatenate(rows) if count else None


def _fit_few_rows(x: Float[np.ndarray, "rows features"], latent_dim: int, center: bool) -> PCA:
    """Fits through the matrix of the products of all rows (Gram), whose eigenvectors combine rows to components."""
    mean = x.mean(axis=0) if center else np.zeros(x.shape[1])
    x = x - mean if center else x
    _, vectors = np.linalg.eigh(x @ x.T)
    # Orthonormal also where directions have no variance.
    return PCA(np.linalg.qr(x.T @ vectors[:, ::-1][:, :latent_dim])[0].T, mean)


def _subspace_iteration(
    chunks: Iterable[Float[np.ndarray, "_ features"]], features: int, latent_dim: int, center: bool, max_seconds: float
) -> PCA:
    """Fits by subspace iteration on the second moments (Halko, Martinsson and Tropp 2011, algorithm 4.4).

    A pass multiplies the second moments, which are never computed, with a basis of `latent_dim` and some more
    directions. The best rotation of the basis (Rayleigh and Ritz) gives the components and the variance that they
    explain.
    """
    latent_dim = min(latent_dim, features)
    size = min(latent_dim + min(latent_dim, MAX_OVERSAMPLING), features)
    if (needed := 4 * 8 * features * size) > MAX_BYTES:
        raise TooExpensive(
            f"{features:,} features and {latent_dim} components need {needed / 2**30:.1f} GiB of memory, "
            f"more than {MAX_BYTES / 2**30:.1f} GiB"
        )
    check_time, began = _time_limit(max_seconds), time.monotonic()
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(features, size)))[0]
    explained: list[float] = []
    while len(explained) < MAX_PASSES:
        product, variance, mean = _multiply(chunks, basis, center, check_time)
        values, rotation = np.linalg.eigh(basis.T @ product)
        explained.append(float(values[-latent_dim:].sum()))
        if _has_converged(explained, variance):
            return PCA((basis @ rotation[:, ::-1][:, :latent_dim]).T, mean)
        if len(explained) == 1 and MIN_PASSES * (seconds := time.monotonic() - began) > max_seconds:
            raise TooExpensive(
                f"one pass over the data takes {seconds:.0f} s and at least {MIN_PASSES} are needed, "
                f"with a limit of {max_seconds:.0f} s"
            )
        basis = np.linalg.qr(product)[0]
    raise TooExpensive(f"the components have not converged after {MAX_PASSES} passes over the data")


def _multiply(
    chunks: Iterable[Float[np.ndarray, "_ features"]],
    basis: Float[np.ndarray, "features size"],
    center: bool,
    check_time: Callable[[], None],
) -> tuple[Float[np.ndarray, "features size"], float, Float[np.ndarray, " features"]]:
    """Returns the product of the second moments and a basis, the sum of all variances, and the mean, in one pass."""
    count, variance, total, product = 0, 0.0, np.zeros(len(basis)), np.zeros_like(basis)
    for chunk in chunks:
        check_time()
        chunk = np.asarray(chunk, np.float64)
        count, variance, total = count + len(chunk), variance + float(np.vdot(chunk, chunk)), total + chunk.sum(axis=0)
        product += chunk.T @ (chunk @ basis)
    if count == 0:
        raise ValueError("PCA has no rows to fit; expected at least one")
    mean = total / count if center else np.zeros_like(total)
    product = product / count - np.outer(mean, mean @ basis)
    return product, variance / count - float(mean @ mean), mean


def _has_converged(explained: list[float], variance: float) -> bool:
    """Returns whether another pass would hardly explain more, if gains keep shrinking as they did."""
    error, rounding = variance - explained[-1], 1e-12 * variance
    if error <= rounding:
        return True
    if len(explained) < MIN_PASSES:
        return False
    before, last = explained[-2] - explained[-3], explained[-1] - explained[-2]
    if last <= rounding:
        return True
    remaining = last * last / (before - last) if last < before else math.inf  # the sum of a geometric series
    return remaining <= TOLERANCE * error and last <= 10 * TOLERANCE * error


def _time_limit(seconds: float) -> Callable[[], None]:
    """Returns a function that raises `TooExpensive` once the time is over."""
    deadline = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > deadline:
            raise TooExpensive(f"it takes longer than {seconds:.0f} s")

    return check
