"""The influence of each word on a prediction: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365)."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Int

from lab10.tasks.classification import Classification
from lab10.training.state import Params

# Maximal error of the quadrature: the difference between the sum of a text's influences and its margin minus that of
# the baseline, relative to the latter if above 1.
TOLERANCE = 1e-3
# Gauss-Legendre points in each panel of the path from zero embeddings to those of the text. One panel is exact to 1e-5
# for the trained LSTM, which is smooth; a panel with a kink of a ReLU is less accurate.
INTEGRATION_POINTS = 64
PANELS = (1, 4, 16, 64, 256)
# The task of modules whose outputs are the logits.
LOGITS = Classification()


class Attribution(struct.PyTreeNode):
    """The contribution of each token of a text to a margin.

    The margin is the logit of one class minus that of another, that is, the log of the ratio of their probabilities.
    Completeness (Sundararajan et al., proposition 1): the influences of a text sum to `margin - baseline_margin`.

    Attributes:
      influence: influence of each token, 0 for padding.
      margin: margin of the text.
      baseline_margin: margin of a text with the same mask whose embeddings are all zero.
    """

    influence: Float[Array, "batch time"]
    margin: Float[Array, " batch"]
    baseline_margin: Float[Array, " batch"]

    @property
    def relative_completeness_gap(self) -> Float[Array, " batch"]:
        """The error of completeness, relative to the difference of the margins if above 1 (see `TOLERANCE`)."""
        explained = self.margin - self.baseline_margin
        return (self.influence.sum(axis=-1) - explained) / jnp.maximum(1, jnp.abs(explained))


def takes_token_weights(module: nn.Module) -> bool:
    """Returns whether `__call__` of a text classifier takes `token_weights`, which attribution needs."""
    return "token_weights" in inspect.signature(type(module).__call__).parameters


def explain(
    module: nn.Module,
    params: Params,
    tokens: Int[np.ndarray, "batch time *channels"],
    towards: Int[np.ndarray, " batch"],
    against: Int[np.ndarray, " batch"],
    task: Classification = LOGITS,
) -> Attribution:
    """Returns `integrated_gradients` with the fewest `PANELS` for which completeness holds within `TOLERANCE`."""
    for panels in PANELS:
        found = integrated_gradients(module, params, tokens, towards, against, panels, task)
        if jnp.all(jnp.abs(found.relative_completeness_gap) <= TOLERANCE):
            break
    return found


@functools.partial(jax.jit, static_argnames=("module", "panels", "task"))
def integrated_gradients(
    module: nn.Module,
    params: Params,
    tokens: Int[Array, "batch time *channels"],
    towards: Int[Array, " batch"],
    against: Int[Array, " batch"],
    panels: int = 1,
    task: Classification = LOGITS,
) -> Attribution:
    """Returns the influence of each token on the margin of the class `towards` over the class `against`. Pure.

    The path scales the embeddings of all tokens together from zero to their values. The gradient along the path is
    taken with respect to the scale p of each token (its `token_weights`), which sums over the features of the
    embedding: d margin / dp = gradient · embedding.

    Args:
      module: a classifier whose `__call__` takes `token_weights`.
      params: parameters of the classifier.
      tokens: rows of ids, or all inputs of a model that reads more than the ids of words.
      towards: a class for each text.
      against: another class for each text.
      panels: number of equal parts of the path, with `INTEGRATION_POINTS` points each.
      task: turns the outputs of the module into logits.
    """

    def margins(token_weights: Float[Array, "batch time"]) -> Float[Array, " batch"]:
        logits = class_logits(task.logits(module.apply({"params": params}, tokens, token_weights)))
        rows = jnp.arange(len(tokens))
        return logits[rows, towards] - logits[rows, against]

    whole = jnp.ones(tokens.shape[:2])
    # The margin of a text does not depend on other texts, so the gradient of the sum contains that of each text.
    gradient = jax.grad(lambda token_weights: margins(token_weights).sum())

    def add(total: jax.Array, point: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        position, weight = point
        return total + weight * gradient(position * whole), None

    nodes, weights = np.polynomial.legendre.leggauss(INTEGRATION_POINTS)  # on [-1, 1]
    positions = (np.arange(panels)[:, None] + (nodes[None] + 1) / 2) / panels
    points = (
        jnp.asarray(positions.ravel(), jnp.float32),
        jnp.asarray(np.tile(weights / 2 / panels, panels), jnp.float32),
    )
    influence, _ = jax.lax.scan(add, jnp.zeros(tokens.shape[:2]), points)
    return Attribution(influence, margins(whole), margins(0 * whole))


def class_logits(logits: Float[Array, "batch logits"]) -> Float[Array, "batch classes"]:
    """Returns a logit for every class; a single logit is that of the second of two classes, and the first has 0."""
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits
