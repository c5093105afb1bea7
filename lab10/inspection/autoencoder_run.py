"""A restored image autoencoder."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab10.cli.console import console
from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec, Split
from lab10.data.images import ImageSpec
from lab10.data.transforms import NoTransform
from lab10.inspection.plots import plot_reconstructions
from lab10.inspection.run import Latents, Pixels, Run
from lab10.models.autoencoder import AutoencoderModel, LinearAutoencoder
from lab10.models.pca import MAX_MOMENTS_FEATURES, PCA, TooExpensive, fit_pca
from lab10.training.workdir import Workdir

# Limits on the images that are read and encoded at a time: their number, and their pixels together.
CHUNK_SIZE, CHUNK_PIXELS = 5000, 2**22
# Time limit of exact PCA, which is only a reference.
MAX_PCA_SECONDS = 120.0
# How far outside [0, 1] rounding may move pixels.
TOLERANCE = 1e-3
# Images in reconstructions.png.
NUM_FIGURE_IMAGES = 10


class AutoencoderRun(Run):
    """A run that encodes, decodes and reconstructs images, given as rows of pixels in [0, 1]."""

    config: Experiment
    spec: ImageSpec

    @staticmethod
    def supports(experiment: Experiment, spec: Spec) -> bool:
        return isinstance(experiment.model, AutoencoderModel) and isinstance(spec, ImageSpec)

    def __init__(self, workdir: Workdir, experiment: Experiment, spec: Spec, checkpoint: str):
        super().__init__(workdir, experiment, spec, checkpoint)
        assert isinstance(experiment.model, AutoencoderModel)
        self._model = experiment.model
        encode, decode = (functools.partial(self._module.apply, method=name) for name in ("encode", "decode"))

        def reconstruct(variables: Any, pixels: jax.Array) -> Any:
            return decode(variables, encode(variables, pixels))

        self._methods = {"encode": jax.jit(encode), "decode": jax.jit(decode), "reconstruct": jax.jit(reconstruct)}

    def encode(self, x: ArrayLike) -> Latents:
        """Encodes pixels [rows, pixels] in [0, 1] to latent vectors, float32 [rows, latent_dim].

        Raises:
          UserError: `x` does not have the shape [rows, pixels], or is not scaled to [0, 1].
        """
        return self._apply("encode", self._pixels(x))

    def decode(self, z: ArrayLike) -> Pixels:
        """Decodes latent vectors [rows, latent_dim] to pixels, float32 [rows, pixels].

        With a linear output activation, pixels may be outside [0, 1].

        Raises:
          UserError: `z` does not have the shape [rows, latent_dim].
        """
        return self._apply("decode", _as_rows(z, self._model.latent_dim, "latent vectors"))

    def reconstruct(self, x: ArrayLike) -> Pixels:
        """Returns `decode(encode(x))`, float32 [rows, pixels].

        Raises:
          UserError: `x` does not have the shape [rows, pixels], or is not scaled to [0, 1].
        """
        return self._apply("reconstruct", self._pixels(x))

    def images(self, split: str, indices: Sequence[int]) -> Pixels:
        """Returns images of a split by index, float32 [indices, pixels] in [0, 1].

        Raises:
          UserError: an index is outside the split.
        """
        examples = self._split(split)
        if outside := [index for index in indices if not 0 <= index < len(examples)]:
            raise UserError(
                f"There is no image {outside[0]}; expected 0 to {len(examples) - 1}, the images of the {split} split."
            )
        return self._read(examples, np.array(indices, np.int64))[0]

    def latents(self, split: str = "test") -> dict[str, np.ndarray]:
        """Encodes a whole split.

        Returns:
          `latents` float32 [examples, latent_dim], `labels` int32 [examples] and `examples` (row ids) int64 [examples].
        """
        examples = self._split(split)
        latents, labels = [], []
        for chunk_pixels, chunk_labels in self._chunks(examples):
            latents.append(self.encode(chunk_pixels))
            labels.append(chunk_labels)
        return {"latents": np.concatenate(latents), "labels": np.concatenate(labels), "examples": examples.rows}

    def plot_reconstructions(self, split: str, indices: list[int] | None = None) -> tuple[Figure, dict[str, Any]]:
        """Draws images of a split and their reconstructions; for a linear autoencoder, also those of exact PCA.

        Args:
          split: name of the split.
          indices: indices of the images in the split; None: the first ten.

        Returns:
          The figure, and a dict of `indices` and each image's `reconstruction_error` (and `pca_reconstruction_error`,
          which is None if exact PCA is too expensive).

        Raises:
          UserError: an index is outside the split.
        """
        if indices is None:
            indices = list(range(min(NUM_FIGURE_IMAGES, len(self._split(split)))))
        pixels = self.images(split, indices)
        rows = {"reconstruction": self.reconstruct(pixels)}
        has_pca = isinstance(self._model, LinearAutoencoder)
        if has_pca and self.pca_baseline is not None:
            rows["exact PCA"] = self.pca_baseline.reconstruct(pixels).astype(np.float32)
        errors = {
            name: np.sum((reconstruction - pixels) ** 2, axis=1).tolist() for name, reconstruction in rows.items()
        }
        figure = plot_reconstructions(pixels, rows, self.spec.shape)
        result: dict[str, Any] = {"indices": indices, "reconstruction_error": errors["reconstruction"]}
        if has_pca:
            result["pca_reconstruction_error"] = errors.get("exact PCA")
        return figure, result

    def save_figures(self, directory: Path) -> None:
        """Writes reconstructions.png, of the validation split if the run has one, else of the train split."""
        split = "validation" if self.config.data.has_validation else "train"
        figure, _ = self.plot_reconstructions(split)
        figure.savefig(directory / "reconstructions.png")

    def _extra_metrics(self, split: str) -> dict[str, float | None]:
        if self.pca_baseline is None:
            return {"pca_reconstruction_error": None}
        errors = [self.pca_baseline.errors(pixels.astype(np.float64)) for pixels, _ in self._chunks(self._split(split))]
        return {"pca_reconstruction_error": float(np.concatenate(errors).mean())}

    @functools.cached_property
    def pca_baseline(self) -> PCA | None:
        """Exact PCA without centering, with the same latent size, fitted on the whole TFDS train split.

        None, with a message, if it would take longer than `MAX_PCA_SECONDS` or too much memory.
        """
        if self.spec.num_values > MAX_MOMENTS_FEATURES:
            console.print(
                f"Computing exact PCA of images of {self.spec.num_values:,} pixels, the reference, "
                f"for at most {MAX_PCA_SECONDS:.0f} s …",
            )
        try:
            return fit_pca(_TrainPixels(self), self._model.latent_dim, center=False, max_seconds=MAX_PCA_SECONDS)
        except TooExpensive as error:
            console.print(f"Exact PCA, the reference, is left out: {error}.")
            return None

    def _chunks(self, split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows = max(1, min(CHUNK_SIZE, CHUNK_PIXELS // self.spec.num_values))
        for start in range(0, len(split), rows):
            yield self._read(split, np.arange(start, min(start + rows, len(split))))

    def _read(self, split: Split, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads pixels as evaluation sees them, float32 [rows, pixels] in [0, 1], and labels."""
        batch = split.batch(indices)
        inputs = self.spec.preprocess({"inputs": jnp.asarray(batch["inputs"])})
        seen = self.config.data.transform.for_evaluation(inputs | {"row_ids": jnp.asarray(indices, jnp.int32)})
        return np.asarray(seen["inputs"]), batch["labels"]

    def _pixels(self, x: ArrayLike) -> np.ndarray:
        rows = _as_rows(x, self.spec.num_values, "pixels")
        # Noisy images exceed [0, 1] a little; images that were never scaled exceed it by far, or are integers.
        largest = 1 if np.asarray(x).dtype.kind in "iu" else 2.5
        if rows.size and (rows.min() < -1.5 or rows.max() > largest):
            raise UserError(
                f"Pixels are {rows.min():g} to {rows.max():g}, not in [0, 1]; "
                f"if they range up to {self.spec.pixel_max}, divide by it."
            )
        is_outside = rows.size and (rows.min() < -TOLERANCE or rows.max() > 1 + TOLERANCE)
        if is_outside and isinstance(self.config.data.transform, NoTransform):  # others may add noise
            console.print(
                f"Warning: pixels are {rows.min():g} to {rows.max():g}, but the run was trained on pixels in [0, 1]. "
                "Scale them to that range."
            )
        return rows

    def _apply(self, method: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._methods[method]({"params": self.params}, rows))


@dataclasses.dataclass(frozen=True)
class _TrainPixels:
    """The pixels of the whole TFDS train split, in chunks, which can be iterated several times."""

    run: AutoencoderRun

    def __iter__(self) -> Iterator[np.ndarray]:
        splits = ["train", "validation"] if self.run.config.data.holds_out_validation else ["train"]
        for split in splits:
            for pixels, _ in self.run._chunks(self.run._split(split)):
                yield pixels


def _as_rows(x: ArrayLike, width: int, name: str) -> np.ndarray:
    """Returns rows of finite float32 numbers.

    Raises:
      UserError: `x` has another shape or type, or a missing or infinite value; the message names the first.
    """
    try:
        values = np.asarray(x)
        if np.ma.is_masked(x) or values.dtype.kind == "c":
            raise TypeError("masked values" if np.ma.is_masked(x) else "complex numbers")
        rows = values.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"Expected {name} as numbers of shape [rows, {width}] ({error}).") from error
    if rows.ndim != 2 or rows.shape[1] != width:
        hint = ""
        if rows.ndim and rows.size and math.prod(rows.shape[1:]) == width:
            hint = f" Use x.reshape(-1, {width})."
        elif rows.shape == (width,):
            hint = " For a single row, use x[None]."
        raise UserError(f"Expected {name} of shape [rows, {width}]; got shape {list(rows.shape)}.{hint}")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise UserError(
            f"Row {row}, column {column} (from 0) of the {name} is {rows[row, column]}; expected finite numbers."
        )
    return rows
