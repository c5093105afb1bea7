"""A restored autoencoder of images."""

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

CHUNK = 5000
SHOWN = 10


class AutoencoderRun(Run):
    """Encodes, decodes and reconstructs rows of pixels in [0, 1]."""

    config: Experiment
    spec: ImageSpec

    @staticmethod
    def inspects(experiment: Experiment, spec: Spec) -> bool:
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
        """Encodes images to latent vectors, float32 [rows, latent].

        Raises:
          UserError: `x` is not [rows, pixels], or not scaled to [0, 1].
        """
        return self._apply("encode", self._pixels(x))

    def decode(self, z: ArrayLike) -> Pixels:
        """Decodes latent vectors to images, float32 [rows, pixels]; a linear output may leave [0, 1].

        Raises:
          UserError: `z` is not [rows, latent].
        """
        return self._apply("decode", _as_rows(z, self._model.latent_dim, "latent vectors"))

    def reconstruct(self, x: ArrayLike) -> Pixels:
        """Reconstructs images, `decode(encode(x))`, float32 [rows, pixels].

        Raises:
          UserError: `x` is not [rows, pixels], or not scaled to [0, 1].
        """
        return self._apply("__call__", self._pixels(x))

    def images(self, split: str, indices: Sequence[int]) -> Pixels:
        """The pixels, in [0, 1], of images of a split, by position in it."""
        return self._read(self._split(split), np.array(indices, np.int64))[0]

    def latents(self, split: str = "test") -> dict[str, np.ndarray]:
        """`latents` float32 [examples, latent], `labels` int32 and `examples` int64 [examples] of a whole split."""
        examples = self._split(split)
        latents, labels = [], []
        for pixels, of_chunk in self._chunks(examples):
            latents.append(self.encode(pixels))
            labels.append(of_chunk)
        return {"latents": np.concatenate(latents), "labels": np.concatenate(labels), "examples": examples.rows}

    def compare(self, split: str, indices: list[int]) -> tuple[Figure, dict[str, Any]]:
        """Draws images of a split and their reconstructions; for a linear autoencoder, those by exact PCA too.

        Args:
          split: where the images are.
          indices: which, by position in the split.

        Returns:
          The figure, and `indices` with each image's `reconstruction_error` (and `pca_reconstruction_error`).

        Raises:
          UserError: an index that the split does not have.
        """
        examples = self._split(split)
        if outside := [index for index in indices if not 0 <= index < len(examples)]:
            raise UserError(f"--indices {outside[0]}: the {split} split has the images 0 to {len(examples) - 1}.")
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

    def draw(self, directory: Path) -> None:
        """Writes reconstructions.png: validation images (training ones if there are none) and what became of them."""
        split = "validation" if self.config.data.validation_fraction > 0 else "train"
        shown = min(SHOWN, len(self._split(split)))
        figure, _ = self.compare(split, list(range(shown)))
        figure.savefig(directory / "reconstructions.png")

    def _further_metrics(self, split: str) -> dict[str, float]:
        errors = [self.pca.errors(pixels.astype(np.float64)) for pixels, _ in self._chunks(self._split(split))]
        return {"pca_reconstruction_error": float(np.concatenate(errors).mean())}

    @functools.cached_property
    def pca(self) -> PCA:
        """Exact PCA without centring, of the same latent size, on the whole TFDS train split."""
        splits = ["train", "validation"] if self.config.data.validation_fraction > 0 else ["train"]
        chunks = (pixels for split in splits for pixels, _ in self._chunks(self._split(split)))
        return fit_pca(chunks, self._model.latent_dim, centred=False)

    def _chunks(self, split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(split), CHUNK):
            yield self._read(split, np.arange(start, min(start + CHUNK, len(split))))

    def _read(self, split: Split, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels float32 [rows, pixels] in [0, 1], and labels."""
        batch = split.batch(positions)
        inputs = self.spec.preprocess({"inputs": jnp.asarray(batch["inputs"])})["inputs"]
        return np.asarray(inputs), batch["labels"]

    def _pixels(self, x: ArrayLike) -> np.ndarray:
        rows = _as_rows(x, self.spec.pixels, "pixels")
        # Noisy images leave [0, 1] a little; images that were never scaled leave it by far.
        if not np.all(np.abs(rows - 0.5) <= 2):
            raise UserError(
                f"Pixels go beyond [0, 1] or are not finite; if they reach {self.spec.largest}, divide by it."
            )
        return rows

    def _apply(self, method: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._methods[method]({"params": self.params}, rows))


def _as_rows(x: ArrayLike, width: int, what: str) -> np.ndarray:
    try:
        rows = np.asarray(x, np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"Expected rows of {width} {what}, [rows, {width}], as numbers ({error}).") from error
    if rows.ndim != 2 or rows.shape[1] != width:
        raise UserError(f"Expected rows of {width} {what}, [rows, {width}]; got the shape {list(rows.shape)}.")
    return rows
