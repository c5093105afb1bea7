"""A restored image autoencoder."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec, Split
from lab10.data.images import ImageSpec
from lab10.errors import UserError
from lab10.inspection.plots import plot_reconstructions
from lab10.inspection.run import Latents, Pixels, Run
from lab10.models.autoencoder import AutoencoderModel, LinearAutoencoder
from lab10.models.pca import PCA, fit_pca
from lab10.training.workdir import Workdir

# Images that are read and encoded at a time.
CHUNK_SIZE = 5000
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
        self._methods = {
            name: jax.jit(functools.partial(self._module.apply, method=name))
            for name in ("encode", "decode", "__call__")
        }

    def encode(self, x: ArrayLike) -> Latents:
        """Encodes pixels [rows, pixels] in [0, 1] to latent vectors, float32 [rows, latent].

        Raises:
          UserError: `x` does not have the shape [rows, pixels], or is not scaled to [0, 1].
        """
        return self._apply("encode", self._pixels(x))

    def decode(self, z: ArrayLike) -> Pixels:
        """Decodes latent vectors [rows, latent] to pixels, float32 [rows, pixels].

        With a linear output activation, pixels may be outside [0, 1].

        Raises:
          UserError: `z` does not have the shape [rows, latent].
        """
        return self._apply("decode", _as_rows(z, self._model.latent_dim, "latent vectors"))

    def reconstruct(self, x: ArrayLike) -> Pixels:
        """Returns `decode(encode(x))`, float32 [rows, pixels].

        Raises:
          UserError: `x` does not have the shape [rows, pixels], or is not scaled to [0, 1].
        """
        return self._apply("__call__", self._pixels(x))

    def images(self, split: str, indices: Sequence[int]) -> Pixels:
        """Returns images of a split by index, float32 [indices, pixels] in [0, 1]."""
        return self._read(self._split(split), np.array(indices, np.int64))[0]

    def latents(self, split: str = "test") -> dict[str, np.ndarray]:
        """Encodes a whole split.

        Returns:
          `latents` float32 [examples, latent], `labels` int32 [examples] and `examples` (row ids) int64 [examples].
        """
        examples = self._split(split)
        latents, labels = [], []
        for chunk_pixels, chunk_labels in self._chunks(examples):
            latents.append(self.encode(chunk_pixels))
            labels.append(chunk_labels)
        return {"latents": np.concatenate(latents), "labels": np.concatenate(labels), "examples": examples.rows}

    def plot_reconstructions(self, split: str, indices: list[int]) -> tuple[Figure, dict[str, Any]]:
        """Draws images of a split and their reconstructions; for a linear autoencoder, also those of exact PCA.

        Args:
          split: name of the split.
          indices: indices of the images in the split.

        Returns:
          The figure, and a dict of `indices` and each image's `reconstruction_error` (and `pca_reconstruction_error`).

        Raises:
          UserError: an index is outside the split.
        """
        examples = self._split(split)
        if outside := [index for index in indices if not 0 <= index < len(examples)]:
            raise UserError(
                f"--indices contains {outside[0]}; expected 0 to {len(examples) - 1}, the images of the {split} split."
            )
        pixels, _ = self._read(examples, np.array(indices, np.int64))
        rows = {"reconstruction": self.reconstruct(pixels)}
        if isinstance(self._model, LinearAutoencoder):
            rows["exact PCA"] = self.pca.reconstruct(pixels).astype(np.float32)
        errors = {
            name: np.sum((reconstruction - pixels) ** 2, axis=1).tolist() for name, reconstruction in rows.items()
        }
        figure = plot_reconstructions(pixels, rows, (self.spec.height, self.spec.width))
        result: dict[str, Any] = {"indices": indices, "reconstruction_error": errors["reconstruction"]}
        if "exact PCA" in errors:
            result["pca_reconstruction_error"] = errors["exact PCA"]
        return figure, result

    def save_figures(self, directory: Path) -> None:
        """Writes reconstructions.png, of the validation split if the run has one, else of the train split."""
        split = "validation" if self.config.data.validation_fraction > 0 else "train"
        count = min(NUM_FIGURE_IMAGES, len(self._split(split)))
        figure, _ = self.plot_reconstructions(split, list(range(count)))
        figure.savefig(directory / "reconstructions.png")

    def _extra_metrics(self, split: str) -> dict[str, float]:
        errors = [self.pca.errors(pixels.astype(np.float64)) for pixels, _ in self._chunks(self._split(split))]
        return {"pca_reconstruction_error": float(np.concatenate(errors).mean())}

    @functools.cached_property
    def pca(self) -> PCA:
        """Exact PCA without centering, with the same latent size, fitted on the whole TFDS train split."""
        splits = ["train", "validation"] if self.config.data.validation_fraction > 0 else ["train"]
        chunks = (pixels for split in splits for pixels, _ in self._chunks(self._split(split)))
        return fit_pca(chunks, self._model.latent_dim, center=False)

    def _chunks(self, split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(split), CHUNK_SIZE):
            yield self._read(split, np.arange(start, min(start + CHUNK_SIZE, len(split))))

    def _read(self, split: Split, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads pixels, float32 [rows, pixels] in [0, 1], and labels."""
        batch = split.batch(indices)
        inputs = self.spec.preprocess({"inputs": jnp.asarray(batch["inputs"])})["inputs"]
        return np.asarray(inputs), batch["labels"]

    def _pixels(self, x: ArrayLike) -> np.ndarray:
        rows = _as_rows(x, self.spec.pixels, "pixels")
        # Noisy images exceed [0, 1] a little; images that were never scaled exceed it by far.
        if not np.all(np.abs(rows - 0.5) <= 2):
            raise UserError(
                f"Pixels are far outside [0, 1] or not finite; if they range up to {self.spec.largest}, divide by it."
            )
        return rows

    def _apply(self, method: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._methods[method]({"params": self.params}, rows))


def _as_rows(x: ArrayLike, width: int, name: str) -> np.ndarray:
    try:
        rows = np.asarray(x, np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"Expected {name} as numbers of shape [rows, {width}] ({error}).") from error
    if rows.ndim != 2 or rows.shape[1] != width:
        raise UserError(f"Expected {name} of shape [rows, {width}]; got shape {list(rows.shape)}.")
    return rows
