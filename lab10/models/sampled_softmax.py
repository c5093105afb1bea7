"""Cross-entropy over a large vocabulary: exact, or of a sample of the words (Jean et al. 2015)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Rows of a batch times time steps, whose logits are in memory at a time.
WINDOW_ROWS = 2048


def cross_entropy(
    states: Float[Array, "time batch features"],
    targets: Int[Array, "time batch"],
    table: Float[Array, "num_ids features"],
    bias: Float[Array, " num_ids"],
) -> Float[Array, "time batch"]:
    """Returns -log softmax(states @ table.T + bias)[targets], float32.

    Works through the time steps in windows and computes their logits again for the gradient, so that memory does not
    grow with rows × ids. The products are in the dtype of `states`.
    """

    @jax.checkpoint
    def of_step(step: tuple[jax.Array, jax.Array]) -> jax.Array:
        states, targets = step
        logits = _product(states, table) + bias[None]
        return jax.nn.logsumexp(logits, axis=-1) - jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]

    # Windows of time, because the rows of a batch are distributed over devices.
    return jax.lax.map(of_step, (states, targets), batch_size=max(1, WINDOW_ROWS // states.shape[1]))


def sampled_cross_entropy(
    states: Float[Array, "time batch features"],
    targets: Int[Array, "time batch"],
    table: Float[Array, "num_ids features"],
    bias: Float[Array, " num_ids"],
    num_candidates: int,
    key: jax.Array,
) -> Float[Array, "time batch"]:
    """Estimates `cross_entropy` from the targets and `num_candidates` other ids, the same for all rows.

    The sum over the other ids is estimated by importance sampling (Jean et al. 2015). They are drawn log-uniformly,
    which suits ids in the order of their frequency.
    """
    num_ids = len(table)
    candidates = sample_log_uniform(key, num_candidates, num_ids)
    log_expected = math.log(num_candidates) + log_uniform_log_prob(candidates, num_ids)
    logits = _product(states, table[candidates]) + (bias[candidates] - log_expected)[None, None]
    # A row's target is no other id.
    others = jnp.where(targets[..., None] == candidates[None, None], -jnp.inf, logits)
    own = jnp.sum(states.astype(jnp.float32) * table[targets], axis=-1) + bias[targets]
    return jnp.logaddexp(own, jax.nn.logsumexp(others, axis=-1)) - own


def sample_log_uniform(key: jax.Array, size: int, num_ids: int) -> Int[Array, " size"]:
    """Draws ids below `num_ids`, with replacement: i with the probability log((i + 2) / (i + 1)) / log(num_ids + 1)."""
    uniform = jax.random.uniform(key, (size,))
    return jnp.minimum(jnp.exp(uniform * math.log(num_ids + 1)).astype(jnp.int32) - 1, num_ids - 1)


def log_uniform_log_prob(ids: Int[Array, "*shape"], num_ids: int) -> Float[Array, "*shape"]:
    """Returns the log-probabilities with which `sample_log_uniform` draws ids."""
    return jnp.log(jnp.log1p(1 / (ids + 1.0)) / math.log(num_ids + 1))


def _product(states: Float[Array, "*rows features"], table: Float[Array, "ids features"]) -> Float[Array, "*rows ids"]:
    return jnp.matmul(states, table.T.astype(states.dtype), preferred_element_type=jnp.float32)
