"""Variational autoencoder of MLPs (Kingma and Welling 2014), with a Gaussian posterior and Bernoulli pixels."""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lab10.config.fields import require_between
from lab10.data.dataset import Spec
from lab10.data.images import ImageSpec
from lab10.models.autoencoder import MLP, Activation, AutoencoderModel
from lab10.models.model import MAX_WIDTH, require_spec


class Posterior(NamedTuple):
    """The Gaussian q(z|x) of each image, with a diagonal covariance.

    Attributes:
      mean: float32 [batch, latent_dim].
      log_variance: float32 [batch, latent_dim].
    """

    mean: Float[Array, "batch latent_dim"]
    log_variance: Float[Array, "batch latent_dim"]


class VAEOutputs(NamedTuple):
    """What a VAE returns for a batch.

    Attributes:
      logits: logits of the pixels' probabilities for one sample of the posterior, float32 [batch, pixels].
      posterior: the posterior of each image.
    """

    logits: Float[Array, "batch pixels"]
    posterior: Posterior


class VAEModule(nn.Module):
    """An encoder of images to posteriors, and a decoder of latent vectors to logits.

    Attributes:
      encoder: its output width is twice the latent size.
      decoder: its output width is the number of pixels.
    """

    encoder: MLP
    decoder: MLP

    def posterior(self, pixels: Float[Array, "batch pixels"]) -> Posterior:
        """Returns q(z|x)."""
        return Posterior(*jnp.split(self.encoder(pixels).astype(jnp.float32), 2, axis=-1))

    def logits(self, latents: Float[Array, "batch latent_dim"]) -> Float[Array, "batch pixels"]:
        """Returns the logits of p(x|z), float32."""
        return self.decoder(latents).astype(jnp.float32)

    def encode(self, pixels: Float[Array, "batch pixels"]) -> Float[Array, "batch latent_dim"]:
        """Returns the means of the posteriors."""
        return self.posterior(pixels).mean

    def decode(self, latents: Float[Array, "batch latent_dim"]) -> Float[Array, "batch pixels"]:
        """Returns the probabilities of the pixels."""
        return nn.sigmoid(self.logits(latents))

    def __call__(self, pixels: Float[Array, "batch pixels"]) -> VAEOutputs:
        """Draws a latent vector for each image from its posterior, with the `sample` stream, and decodes it."""
        posterior = self.posterior(pixels)
        noise = jax.random.normal(self.make_rng("sample"), posterior.mean.shape)
        return VAEOutputs(self.logits(posterior.mean + jnp.exp(posterior.log_variance / 2) * noise), posterior)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE(AutoencoderModel):
    """Variational autoencoder of MLPs; the task `NegativeELBO` trains it."""

    output_type: ClassVar[str] = "VAEOutputs"

    latent_dim: int = 50
    """Size of the latent vector."""
    encoder_widths: tuple[int, ...] = (500, 500)
    """Widths of the encoder's hidden layers."""
    decoder_widths: tuple[int, ...] = (500, 500)
    """Widths of the decoder's hidden layers."""
    activation: Activation = "tanh"
    """Activation between layers."""

    def __post_init__(self):
        require_between(1, MAX_WIDTH, self, "latent_dim", "encoder_widths", "decoder_widths")

    def build(self, spec: Spec) -> VAEModule:
        images = require_spec(self, spec, ImageSpec)
        mlp = functools.partial(MLP, activation=self.activation, dtype=self.compute_dtype())
        return VAEModule(
            mlp((*self.encoder_widths, 2 * self.latent_dim)), mlp((*self.decoder_widths, images.num_values))
        )
