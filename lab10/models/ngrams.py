"""Hashes n-grams of words to ids (feature hashing, Weinberger et al. 2009)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lab10.data.tokenizer import PADDING_ID

# Longer n-grams hardly occur twice, and an embedding with more buckets fits on no device.
MAX_NGRAM, MAX_NGRAM_BUCKETS = 8, 2**24


def ngram_windows(rows: jax.Array, length: int) -> jax.Array:
    """Returns the entries at each position and at the `length` - 1 positions before, [length, batch, time].

    Entry i is the row shifted right by i; the shift fills with zeros.
    """
    return jnp.stack([jnp.pad(rows, [(0, 0), (shift, 0)])[:, : rows.shape[1]] for shift in range(length)])


def ngram_buckets(
    tokens: Int[Array, "batch time"], length: int, buckets: int
) -> tuple[Int[Array, "batch time"], Bool[Array, "batch time"]]:
    """Returns the bucket of the n-gram ending at each position, and whether all its words are tokens.

    The hash is FNV-1a (Fowler, Noll and Vo 1991) over whole ids instead of bytes, XORed with its upper half.
    """
    parts = ngram_windows(tokens, length)
    hashed = jnp.full(tokens.shape, 2166136261, jnp.uint32)
    for part in parts[::-1]:
        hashed = (hashed ^ part.astype(jnp.uint32)) * jnp.uint32(16777619)
    hashed = hashed ^ (hashed >> 16)
    return (hashed % jnp.uint32(buckets)).astype(jnp.int32), jnp.all(parts != PADDING_ID, axis=0)


def ngram_weights(
    complete: Bool[Array, "batch time"], length: int, token_weights: Float[Array, "batch time"] | None
) -> Float[Array, "batch time"]:
    """Returns the weight of the n-gram ending at each position: the product of its token weights, 0 if incomplete."""
    weights = complete.astype(jnp.float32)
    return weights if token_weights is None else weights * jnp.prod(ngram_windows(token_weights, length), axis=0)
