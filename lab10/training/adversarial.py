"""Adversarial training of what a module perturbs: Goodfellow et al. 2015, on embeddings as in Miyato et al. 2017."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lab10.training.state import Params

# The collection that flax's `Module.perturb` adds to what it is given.
PERTURBATIONS = "perturbations"
Perturbations = dict[str, Any]


def adversarial_gradients(
    loss: Callable[[Params, Perturbations], tuple[Any, Any]],
    params: Params,
    perturbations: Perturbations,
    radius: float,
) -> tuple[Params, Any]:
    """Gradients of the loss plus that of the loss where it is worst, to first order, within a radius of each example.

    Args:
      loss: [] of parameters and perturbations; with something beside it.
      params: the parameters.
      perturbations: zeros, [time, batch, features] each.
      radius: Euclidean norm of what is added to an example.

    Returns:
      The gradients with respect to the parameters, and what stands beside the unperturbed loss.
    """
    (gradients, uphill), beside = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, perturbations)
    worst = jax.tree.map(lambda direction: radius * normalised(direction), uphill)
    of_worst, _ = jax.grad(loss, has_aux=True)(params, worst)
    return jax.tree.map(jnp.add, gradients, of_worst), beside


def normalised(direction: Float[Array, "time batch features"]) -> Float[Array, "time batch features"]:
    """Each example's part at norm one; zero stays zero."""
    norm = jnp.sqrt(jnp.sum(direction**2, axis=(0, 2), keepdims=True))
    return direction / jnp.maximum(norm, jnp.finfo(direction.dtype).tiny)
