"""Short sequences of words as ids of their own, by hashing (Weinberger et al. 2009)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lab10.data.tokenizer import PADDING_ID

# Beyond these an n-gram occurs once, and an embedding of its buckets fits no device.
MAX_NGRAM, MAX_NGRAM_BUCKETS = 8, 2**24


def windows(rows: jax.Array, length: int) -> jax.Array:
    """Returns each position and the ones before it, [length, batch, time]; zeros before the first."""
    return jnp.stack([jnp.pad(rows, [(0, 0), (back, 0)])[:, : rows.shape[1]] for back in range(length)])


def ngram_buckets(
    tokens: Int[Array, "batch time"], length: int, buckets: int
) -> tuple[Int[Array, "batch time"], Bool[Array, "batch time"]]:
    """Returns the bucket of the n-gram ending at each position, and whether it consists of tokens only.

    The hash is FNV-1a's with whole ids in place of bytes (Fowler, Noll and Vo 1991), then mixed by its upper half.
    """
    parts = windows(tokens, length)
    hashed = jnp.full(tokens.shape, 2166136261, jnp.uint32)
    for part in parts[::-1]:
        hashed = (hashed ^ part.astype(jnp.uint32)) * jnp.uint32(16777619)
    hashed = hashed ^ (hashed >> 16)
    return (hashed % jnp.uint32(buckets)).astype(jnp.int32), jnp.all(parts != PADDING_ID, axis=0)


def ngram_weights(
    complete: Bool[Array, "batch time"], length: int, token_weights: Float[Array, "batch time"] | None
) -> Float[Array, "batch time"]:
    """Weight of the n-gram ending at each position: the product of the weights of its tokens, if given."""
    there = complete.astype(jnp.float32)
    return there if token_weights is None else there * jnp.prod(windows(token_weights, length), axis=0)
