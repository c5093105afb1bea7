"""Dropout equals Flax's for a static rate, and is the same for a traced rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from lab10.models.dropout import Dropout

X = jnp.arange(1, 61, dtype=jnp.float32).reshape(5, 3, 4)


class Both(nn.Module):
    """Asks both for the same randomness."""

    rate: float
    broadcast: tuple[int, ...]
    ours: bool

    @nn.compact
    def __call__(self, x):
        if self.ours:
            return Dropout(self.rate, self.broadcast, name="one")(x)
        return nn.Dropout(self.rate, self.broadcast, deterministic=not self.has_rng("dropout"), name="one")(x)


@pytest.mark.parametrize("broadcast", [(), (0,), (0, 2)])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5])
def test_it_equals_flax_dropout(rate, broadcast):
    for rngs in (None, {"dropout": jax.random.key(3)}):
        ours, theirs = (Both(rate, broadcast, ours).apply({}, X, rngs=rngs) for ours in (True, False))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_traced_rate_gives_the_same_result(dtype):
    x, rngs = jnp.asarray(X, dtype), {"dropout": jax.random.key(3)}
    traced = jax.jit(lambda rate: Dropout(rate).apply({}, x, rngs=rngs))(jnp.float32(0.3))
    known = Dropout(0.3).apply({}, x, rngs=rngs)
    assert traced.dtype == known.dtype == dtype
    np.testing.assert_allclose(
        traced.astype("float32"), known.astype("float32"), rtol=1e-2 if dtype != "float32" else 1e-6
    )
    assert 0 < np.mean(np.asarray(traced) == 0) < 1
