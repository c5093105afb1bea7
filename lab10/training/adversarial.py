"""Adversarial training (Goodfellow et al. 2015) on embeddings, as in Miyato et al. 2017."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from lab10.training.state import Params

# The collection used by Flax's `Module.perturb`.
PERTURBATIONS = "perturbations"
Perturbations = dict[str, Any]


def with_adversarial_gradient(
    loss: Callable[[Params, Perturbations], tuple[Any, Any]], module: nn.Module, inputs: jax.Array, radius: float
) -> Callable[[Params], tuple[Any, Any]]:
    """Returns the clean loss, whose gradient is that of the clean loss plus the adversarial loss.

    The adversarial loss is that under the worst perturbation of norm `radius` per example, to first order.

    Args:
      loss: takes parameters and perturbations; returns the loss, [], and auxiliary data.
      module: calls `perturb` on what may be perturbed, [time, batch, features], or [time, batch, features, copies] for
        copies of a module that are perturbed separately.
      inputs: the inputs of the module.
      radius: Euclidean norm of the perturbation of an example.

    Returns:
      A function from parameters to the clean loss and its auxiliary data. It has no forward-mode derivative.
    """
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)[PERTURBATIONS]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    @jax.custom_vjp
    def clean_loss(params: Params) -> tuple[Any, Any]:
        return loss(params, zeros)

    def forward(params: Params) -> tuple[tuple[Any, Any], Params]:
        # One backward pass gives the gradients for the parameters and for the perturbation.
        clean, (grads, ascent) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, zeros)
        worst = jax.tree.map(lambda direction: radius * normalize(direction), ascent)
        adversarial_grads, _ = jax.grad(loss, has_aux=True)(params, worst)
        return clean, jax.tree.map(jnp.add, grads, adversarial_grads)

    def backward(grads: Params, cotangents: tuple[Any, Any]) -> tuple[Params]:
        return (jax.tree.map(lambda leaf: cotangents[0] * leaf, grads),)

    clean_loss.defvjp(forward, backward)
    return clean_loss


def normalize(direction: Float[Array, "time batch features *copies"]) -> Float[Array, "time batch features *copies"]:
    """Scales each example, of each copy, to norm 1; zeros stay zero."""
    norm = jnp.sqrt(jnp.sum(direction**2, axis=(0, 2), keepdims=True))
    return direction / jnp.maximum(norm, jnp.finfo(direction.dtype).tiny)
