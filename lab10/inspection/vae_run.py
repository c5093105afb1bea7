"""A restored variational autoencoder: samples, and its estimate of the likelihood of images."""

import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.figure import Figure

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec
from lab10.inspection.autoencoder_run import AutoencoderRun
from lab10.inspection.plots import ImageRow, plot_image_rows
from lab10.inspection.run import Pixels
from lab10.models.pca import fit_pca
from lab10.models.vae import Posterior
from lab10.tasks.elbo import NegativeELBO, bernoulli_log_prob
from lab10.training.workdir import Workdir

# Images and samples of each image that are decoded at a time: what is decoded then fits into a processor's cache.
IMAGES_AT_A_TIME, SAMPLES_AT_A_TIME = 20, 50
# Samples for the bound of every image in `evaluate`, and for the bound that publications report.
EVALUATION_SAMPLES, PUBLISHED_SAMPLES = 50, 5000
# Images along each side of samples.png and latent_grid.png.
GRID_SIZE = 16


class VAERun(AutoencoderRun):
    """A run of a VAE: `encode` returns the means of the posteriors, `decode` the probabilities of pixels."""

    @staticmethod
    def supports(experiment: Experiment, spec: Spec) -> bool:
        return isinstance(experiment.task, NegativeELBO) and AutoencoderRun.supports(experiment, spec)

    def __init__(self, workdir: Workdir, experiment: Experiment, spec: Spec, checkpoint: str):
        super().__init__(workdir, experiment, spec, checkpoint)

        def bound(params: Any, pixels: jax.Array, row_ids: jax.Array, k: jax.Array) -> jax.Array:
            apply = functools.partial(self._module.apply, {"params": params})
            logits: Any = functools.partial(apply, method="logits")
            posterior: Any = apply(pixels, method="posterior")
            return log_mean_weight(logits, posterior, pixels, row_ids, k)

        self._log_mean_weight = jax.jit(bound)

    def sample(self, count: int, seed: int = 0) -> Pixels:
        """Decodes `count` latent vectors drawn from the prior, to probabilities [count, pixels]."""
        return self.decode(np.asarray(jax.random.normal(jax.random.key(seed), (count, self._model.latent_dim))))

    def importance_weighted_bound(
        self, split: str = "test", k: int = PUBLISHED_SAMPLES, count: int | None = None
    ) -> dict[str, Any]:
        """Bounds the negative log-likelihood -log p(x) of images from above, in nats, by `log_mean_weight`.

        Records the bound of each image in evaluations/ in the workdir, as `evaluate` does.

        Args:
          split: name of the split.
          k: number of samples for each image; the bound is tighter with more.
          count: number of images, the first of the split; None: all.

        Returns:
          `split`, `examples`, `step`, `samples`, `importance_weighted_bound` (the mean), its `standard_error` over
          the images, `read_count` and `per_example`.

        Raises:
          UserError: the split has fewer images, `count` is below 2, or `k` below 1.
        """
        examples = self._split(split)
        count = len(examples) if count is None else count
        if k < 1 or not 2 <= count <= len(examples):
            raise UserError(
                f"The bound of {count} images with {k} samples each and its standard error are not defined; "
                f"expected 2 to {len(examples)} images, as the {split} split has, and at least one sample."
            )
        bounds = self._bounds(split, k, count)
        result = {
            **{"split": split, "examples": count, "step": self.step, "samples": k},
            "importance_weighted_bound": float(bounds.mean()),
            "standard_error": float(np.std(bounds, ddof=1)) / count**0.5,
        }
        columns = {"example": examples.rows[:count], "importance_weighted_bound": bounds}
        return result | self._record(result, columns)

    def plot_samples(self) -> Figure:
        """Draws images decoded from samples of the prior."""
        return self._plot_grid(self.sample(GRID_SIZE**2))

    def plot_latent_grid(self, split: str) -> Figure:
        """Draws the images of a grid over the two principal directions of the split's posterior means.

        Coordinates are quantiles of a normal distribution with the deviation of the means along each direction, as in
        figure 4 of Kingma and Welling (2014).
        """
        latents = self.latents(split)["latents"].astype(np.float64)
        pca = fit_pca([latents], 2, center=True)
        deviations = pca.encode(latents).std(axis=0)
        normal = statistics.NormalDist()
        quantiles = np.array([normal.inv_cdf((i + 0.5) / GRID_SIZE) for i in range(GRID_SIZE)])
        grid = np.stack(np.meshgrid(quantiles, -quantiles), axis=-1).reshape(-1, 2)[:, : len(pca.components)]
        return self._plot_grid(self.decode(pca.mean + grid * deviations @ pca.components))

    def save_figures(self, directory: Path) -> None:
        """Writes reconstructions.png, samples.png and latent_grid.png, of the validation split if the run has one."""
        super().save_figures(directory)
        split = "validation" if self.config.data.has_validation else "train"
        self.plot_samples().savefig(directory / "samples.png")
        self.plot_latent_grid(split).savefig(directory / "latent_grid.png")

    def _extra_metrics(self, split: str) -> dict[str, float | None]:
        bounds = self._bounds(split, EVALUATION_SAMPLES, len(self._split(split)))
        return {f"importance_weighted_bound_{EVALUATION_SAMPLES}": float(bounds.mean())}

    def _bounds(self, split: str, k: int, count: int) -> Float[np.ndarray, " images"]:
        """Returns the bound of each of the first `count` images, float64."""
        examples, bounds = self._split(split), []
        for start in range(0, count, IMAGES_AT_A_TIME):
            # The last images repeat one, so that all have one shape.
            row_ids = np.minimum(np.arange(start, start + IMAGES_AT_A_TIME), count - 1)
            pixels, _ = self._read(examples, row_ids)
            log_means = self._log_mean_weight(self.params, pixels, row_ids.astype(np.int32), np.int32(k))
            bounds.append(-np.asarray(log_means, np.float64)[: count - start])
        return np.concatenate(bounds)

    def _plot_grid(self, images: Pixels) -> Figure:
        rows = [ImageRow("", row) for row in images.reshape(GRID_SIZE, GRID_SIZE, -1)]
        return plot_image_rows(rows, self.spec.shape, inches=0.45, row_gap=0.02, dpi=120)


def log_mean_weight(
    logits: Callable[[Float[Array, "rows latent_dim"]], Float[Array, "rows pixels"]],
    posterior: Posterior,
    pixels: Float[Array, "images pixels"],
    row_ids: Int[Array, " images"],
    k: Int[Array, ""],
) -> Float[Array, " images"]:
    """Estimates log p(x) by importance sampling: the log of the mean weight of k samples of the posterior.

    Its expectation is a lower bound of log p(x) that rises with k (Burda et al. 2016, equation 8 and theorem 1). The
    samples of an image depend on its row id and k alone.

    Args:
      logits: decodes latent vectors to logits of the pixels' probabilities.
      posterior: the posterior of each image.
      pixels: the images.
      row_ids: the position of each image in its split.
      k: number of samples.
    """
    num_images, latent_dim = posterior.mean.shape
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), row_ids)

    def add_samples(i: jax.Array, log_sum: jax.Array) -> jax.Array:
        chunk_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
        noise = jax.vmap(lambda key: jax.random.normal(key, (SAMPLES_AT_A_TIME, latent_dim)))(chunk_keys)
        latents = posterior.mean[:, None] + jnp.exp(posterior.log_variance / 2)[:, None] * noise
        decoded = logits(latents.reshape(-1, latent_dim)).reshape(num_images, SAMPLES_AT_A_TIME, -1)
        # log p(x|z) + log p(z) - log q(z|x)
        log_weights = bernoulli_log_prob(decoded, jnp.broadcast_to(pixels[:, None], decoded.shape))
        log_weights += jnp.sum(noise**2 - latents**2 + posterior.log_variance[:, None], axis=-1) / 2
        wanted = i * SAMPLES_AT_A_TIME + jnp.arange(SAMPLES_AT_A_TIME) < k
        log_weights = jnp.where(wanted[None], log_weights, -jnp.inf)
        return jnp.logaddexp(log_sum, jax.scipy.special.logsumexp(log_weights, axis=1))

    num_chunks = (k + SAMPLES_AT_A_TIME - 1) // SAMPLES_AT_A_TIME
    log_sum = jax.lax.fori_loop(0, num_chunks, add_samples, jnp.full(num_images, -jnp.inf))
    return log_sum - jnp.log(k.astype(jnp.float32))
