"""The negative evidence lower bound of a variational autoencoder (Kingma and Welling 2014), in nats."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lab10.data.dataset import Batch
from lab10.models.vae import Posterior, VAEOutputs
from lab10.tasks.task import PerExample, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class NegativeELBO(Task):
    """Negative ELBO in nats: `reconstruction_loss` + `kl_divergence`, an upper bound of -log p(x)."""

    metrics: ClassVar[dict[str, bool]] = {"loss": False, "reconstruction_loss": False, "kl_divergence": False}
    output_type: ClassVar[str] = "VAEOutputs"

    def per_example(self, outputs: VAEOutputs, batch: Batch, key: jax.Array) -> PerExample:
        reconstruction_loss = -bernoulli_log_prob(outputs.logits, batch["targets"])
        kl = kl_divergence(outputs.posterior)
        return {"loss": reconstruction_loss + kl, "reconstruction_loss": reconstruction_loss, "kl_divergence": kl}

    def extra_columns(self, outputs: VAEOutputs, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        error = jnp.sum((jax.nn.sigmoid(outputs.logits) - batch["targets"]) ** 2, axis=-1)
        return {"reconstruction_error": error}


def bernoulli_log_prob(logits: Float[Array, "*batch pixels"], pixels: Float[Array, "*#batch pixels"]) -> Array:
    """Returns log p(x|z), [*batch]. For pixels between 0 and 1 it is the negative cross-entropy."""
    return -jnp.sum(optax.sigmoid_binary_cross_entropy(logits, pixels), axis=-1)


def kl_divergence(posterior: Posterior) -> Float[Array, " batch"]:
    """Returns the divergence of each posterior from the standard normal (Kingma and Welling 2014, appendix B)."""
    mean, log_variance = posterior
    return 0.5 * jnp.sum(jnp.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1)
