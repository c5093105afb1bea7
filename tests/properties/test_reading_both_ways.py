"""Reading in both directions: one scan for both gives what one scan after the other gives, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from lab10.models.fused_lstm import fused_lstm
from lab10.models.lstm import MaskedLSTM, read_both_ways, run_in_turn, run_together

TIME, BATCH, FEATURES, HIDDEN = 7, 3, 4, 5


def inputs_of(seed):
    random = np.random.default_rng(seed)
    features = random.normal(size=(TIME, BATCH, FEATURES)).astype(np.float32)
    shapes = ((FEATURES, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,))
    return features, *(tuple(random.normal(size=shape).astype(np.float32) for shape in shapes) for _ in range(2))


def loss_of(run):
    def loss(features, kernels, backward_kernels, mask):
        directions = run(features, mask, kernels, backward_kernels)
        sums = [jnp.sum(jnp.sin((1 + i) * leaf)) for i, leaf in enumerate(jax.tree.leaves(directions))]
        return sum(sums), directions

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))


IN_TURN, TOGETHER = loss_of(run_in_turn), loss_of(run_together)


@given(numpy_strategies.arrays(bool, (TIME, BATCH)), st.integers(0, 2**32 - 1))
def test_both_directions_together_are_one_after_the_other(mask, seed):
    inputs = inputs_of(seed)
    jax.tree.map(np.testing.assert_array_equal, TOGETHER(*inputs, mask), IN_TURN(*inputs, mask))


@given(numpy_strategies.arrays(bool, (TIME, BATCH)), st.integers(0, 2**32 - 1))
def test_the_second_direction_is_the_first_one_of_reversed_sequences(mask, seed):
    features, kernels, backward_kernels = inputs_of(seed)
    _, (forward, backward) = IN_TURN(features, kernels, backward_kernels, mask)
    _, (reversed_backward, _) = IN_TURN(features[::-1], backward_kernels, kernels, mask[::-1])
    assert_close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)  # noqa: E731
    jax.tree.map(assert_close, backward, (reversed_backward[0], reversed_backward[1][::-1]))
    jax.tree.map(assert_close, forward, jax.jit(fused_lstm)(features, mask, *kernels))


class BothWays(nn.Module):
    implementation: str

    @nn.compact
    def __call__(self, features, mask):
        lstms = (MaskedLSTM(HIDDEN, implementation=self.implementation, name=name) for name in ("lstm", "backward"))
        return read_both_ways(*lstms, features, mask)


@pytest.mark.parametrize("implementation", ["auto", "fused", "reference"])
def test_every_implementation_has_the_same_parameters_and_results(implementation):
    features, *both_kernels = inputs_of(0)
    mask = np.ones((TIME, BATCH), bool)
    names = ("input_kernel", "recurrent_kernel", "bias")
    cells = [{"cell": dict(zip(names, kernels, strict=True))} for kernels in both_kernels]
    params = {"params": dict(zip(("lstm", "backward"), cells, strict=True))}
    directions = jax.jit(BothWays(implementation).apply)(params, features, mask)
    expected = jax.jit(run_in_turn)(features, mask, *both_kernels)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), directions, expected)
