"""Autoencoders of images: dense layers to a latent vector and back. The linear autoencoder learns PCA's subspace."""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lab10.config.fields import require_between
from lab10.data.dataset import Spec
from lab10.data.images import ImageSpec
from lab10.models.model import MAX_WIDTH, Model, require_spec

Activation = Literal["tanh", "relu", "gelu", "elu", "silu", "sigmoid", "identity"]
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "gelu": nn.gelu,
    "elu": nn.elu,
    "silu": nn.silu,
    "sigmoid": nn.sigmoid,
    "identity": lambda x: x,
}


class MLP(nn.Module):
    """Dense layers with an activation after each layer.

    Attributes:
      widths: widths of the layers; the last is the output width.
      activation: activation between layers.
      output_activation: activation after the last layer.
      use_bias: whether layers add a bias.
      kernel_init: initializer of the matrices.
      dtype: dtype of the computation.
    """

    widths: tuple[int, ...]
    activation: str = "identity"
    output_activation: str = "identity"
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch outputs"]:
        for layer, width in enumerate(self.widths):
            x = nn.Dense(width, self.use_bias, self.dtype, kernel_init=self.kernel_init, name=f"dense_{layer}")(x)
            x = ACTIVATIONS[self.activation if layer < len(self.widths) - 1 else self.output_activation](x)
        return x


class Autoencoder(nn.Module):
    """An encoder of images to latent vectors, and a decoder back to images.

    Attributes:
      encoder: its output width is the latent size.
      decoder: its output width is the number of pixels.
    """

    encoder: MLP
    decoder: MLP

    def encode(self, pixels: Float[Array, "batch pixels"]) -> Float[Array, "batch latent_dim"]:
        """Returns latent vectors, float32."""
        return self.encoder(pixels).astype(jnp.float32)

    def decode(self, latents: Float[Array, "batch latent_dim"]) -> Float[Array, "batch pixels"]:
        """Returns images, float32; a linear output may leave [0, 1]."""
        return self.decoder(latents).astype(jnp.float32)

    def __call__(self, pixels: Float[Array, "batch pixels"]) -> Float[Array, "batch pixels"]:
        """Returns reconstructions, float32."""
        return self.decode(self.encode(pixels))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderModel(Model):
    """Base class of autoencoders."""

    output_type: ClassVar[str] = "pixels"

    latent_dim: int = 64
    """Size of the latent vector."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearAutoencoder(AutoencoderModel):
    """Two matrices without bias: z = E x, x' = D z. The minimal loss is that of PCA without centering."""

    def __post_init__(self):
        require_between(1, MAX_WIDTH, self, "latent_dim")

    def build(self, spec: Spec) -> Autoencoder:
        images = require_spec(self, spec, ImageSpec)
        # The lab's initialization: rnorm(sd = sqrt(6 / (latent_size + input_size))).
        normal = nn.initializers.normal((6 / (self.latent_dim + images.num_values)) ** 0.5)
        layer = functools.partial(MLP, use_bias=False, kernel_init=normal, dtype=self.compute_dtype())
        return Autoencoder(layer((self.latent_dim,)), layer((images.num_values,)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MLPAutoencoder(AutoencoderModel):
    """MLPs of any widths; by default the lab's 784-256-64-256-784, tanh, linear output, Glorot-uniform."""

    encoder_widths: tuple[int, ...] = (256,)
    """Widths of the encoder's hidden layers."""
    decoder_widths: tuple[int, ...] = (256,)
    """Widths of the decoder's hidden layers."""
    activation: Activation = "tanh"
    """Activation between layers."""
    output_activation: Literal["linear", "sigmoid"] = "linear"
    """Activation after the last layer."""

    def __post_init__(self):
        require_between(1, MAX_WIDTH, self, "latent_dim", "encoder_widths", "decoder_widths")

    def build(self, spec: Spec) -> Autoencoder:
        images = require_spec(self, spec, ImageSpec)
        output = "identity" if self.output_activation == "linear" else "sigmoid"
        mlp = functools.partial(MLP, activation=self.activation, dtype=self.compute_dtype())
        return Autoencoder(
            mlp((*self.encoder_widths, self.latent_dim)),
            mlp((*self.decoder_widths, images.num_values), output_activation=output),
        )
