"""The influence of each word on a prediction: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365)."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int

from lab10.training.state import Params

# Largest difference between the sum of a text's influences and its margin minus the baseline's, relative to that if
# above 1. It is the error of the quadrature.
TOLERANCE = 1e-3
# Gauss-Legendre points in each panel of the path from empty words to the text. One panel is exact to 1e-5 for the
# trained LSTM, which is smooth; a kink of a ReLU costs its panel's accuracy.
POINTS = 64
PANELS = (1, 4, 16, 64, 256)


class Attribution(struct.PyTreeNode):
    """The contribution of each token of a text to a margin.

    The margin is the logit of one class less that of another: the log of how many times more probable
    the first is. Completeness (equation 1 there): the influences of a text sum to `margin - baseline_margin`.

    Attributes:
      influence: of each token, 0 for padding.
      margin: of the text.
      baseline_margin: of a text of the same mask whose embeddings are all zero.
    """

    influence: Float[Array, "batch time"]
    margin: Float[Array, " batch"]
    baseline_margin: Float[Array, " batch"]

    @property
    def gap(self) -> Float[Array, " batch"]:
        """By how much completeness is missed, relative to what is to be explained: see `TOLERANCE`."""
        explained = self.margin - self.baseline_margin
        return (self.influence.sum(axis=-1) - explained) / jnp.maximum(1, jnp.abs(explained))


def takes_token_weights(module: nn.Module) -> bool:
    """Whether a text classifier can be explained: its `__call__` takes `token_weights`."""
    return "token_weights" in inspect.signature(type(module).__call__).parameters


def explain(
    module: nn.Module,
    params: Params,
    tokens: Int[np.ndarray, "batch time"],
    towards: Int[np.ndarray, " batch"],
    against: Int[np.ndarray, " batch"],
) -> Attribution:
    """`integrated_gradients` with as many of `PANELS` as completeness within `TOLERANCE` takes, at most the last."""
    for panels in PANELS:
        found = integrated_gradients(module, params, tokens, towards, against, panels)
        if jnp.all(jnp.abs(found.gap) <= TOLERANCE):
            break
    return found


@functools.partial(jax.jit, static_argnames=("module", "panels"))
def integrated_gradients(
    module: nn.Module,
    params: Params,
    tokens: Int[Array, "batch time"],
    towards: Int[Array, " batch"],
    against: Int[Array, " batch"],
    panels: int = 1,
) -> Attribution:
    """The influence of each token on the margin of the class `towards` over the class `against`. Pure.

    The embeddings of all tokens go from zero to what they are together; at each point of the way the
    gradient says how the margin changes with each. Scaling a token's embedding by its token_weights p, from
    0 to 1, gives its influence summed over the embedding's features: d margin / dp = gradient · embedding.

    Args:
      module: a classifier whose `__call__` takes `token_weights`.
      params: its parameters.
      tokens: rows of ids.
      towards: a class for each text.
      against: another class for each text.
      panels: equal parts of the way, with `POINTS` points each.
    """

    def margins(token_weights: Float[Array, "batch time"]) -> Float[Array, " batch"]:
        logits = module.apply({"params": params}, tokens, token_weights)
        of_classes = class_logits(logits)  # type: ignore[arg-type]
        rows = jnp.arange(len(tokens))
        return of_classes[rows, towards] - of_classes[rows, against]

    whole = jnp.ones(tokens.shape)
    # No text's margin depends on another text, so the gradient of the sum holds every text's own.
    gradient = jax.grad(lambda token_weights: margins(token_weights).sum())

    def add(total: jax.Array, point: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        position, weight = point
        return total + weight * gradient(position * whole), None

    nodes, weights = np.polynomial.legendre.leggauss(POINTS)  # on [-1, 1]
    of_way = (np.arange(panels)[:, None] + (nodes[None] + 1) / 2) / panels
    points = (jnp.asarray(of_way.ravel(), jnp.float32), jnp.asarray(np.tile(weights / 2 / panels, panels), jnp.float32))
    influence, _ = jax.lax.scan(add, jnp.zeros(tokens.shape), points)
    return Attribution(influence, margins(whole), margins(0 * whole))


def class_logits(logits: Float[Array, "batch logits"]) -> Float[Array, "batch classes"]:
    """A logit for every class; where there is one alone, it is that of the second of two, the first's being 0."""
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits
