"""The LSTM's kernels for GPUs and TPUs, interpreted, against `fused_lstm`'s scan and `nn.scan` over the cell."""

import functools
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import preloaded
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from lab10.models.fused_lstm import fused_lstm
from lab10.models.lstm import MaskedLSTM
from lab10.models.lstm_kernels import fits

KERNELS = ("interpreted gpu", "interpreted tpu")
# Both kernels call the same step functions, so `make test` repeats only the values and gradients for both.
GPU_FIRST = [KERNELS[0], pytest.param(KERNELS[1], marks=pytest.mark.slow)]
TPU_FIRST = [KERNELS[1], pytest.param(KERNELS[0], marks=pytest.mark.slow)]
TIME, FEATURES = 4, 3
# Batch and hidden size: one row, rows that fill no block of a GPU's 16, and more than a block.
SHAPES = ((1, 1), (3, 5), (18, 16))
MASK = np.arange(TIME)[:, None] >= np.array([[0, 2, 4]])  # padded on the left; the last row has no step


def weights_of(batch, hidden, seed, dtype="float32"):
    random = np.random.default_rng(seed)

    def normal(*shape, scale=1.0):
        return jnp.asarray(random.normal(size=shape) * scale, jnp.float32)

    features = normal(TIME, batch, FEATURES).astype(dtype)
    kernels = normal(FEATURES, 4 * hidden), normal(hidden, 4 * hidden, scale=hidden**-0.5), normal(4 * hidden)
    return features, *kernels, (normal(batch, hidden), normal(batch, hidden))


@functools.cache
def values_and_gradients(recurrence, reads_everything=True):
    def loss(features, input_kernel, recurrent_kernel, bias, carry, mask):
        if recurrence == "reference":
            params = {"input_kernel": input_kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
            module = MaskedLSTM(recurrent_kernel.shape[0], features.dtype, "reference")
            carry = jax.tree.map(lambda state: state.astype(features.dtype), carry)
            (cell, last), outputs = module.apply({"params": {"cell": params}}, features, mask, carry)
        else:
            (cell, last), outputs = fused_lstm(features, mask, input_kernel, recurrent_kernel, bias, carry, recurrence)
        cell, last, outputs = (array.astype(jnp.float32) for array in (cell, last, outputs))
        total = jnp.sum(jnp.sin(last))
        if reads_everything:
            total += jnp.sum(jnp.cos(cell)) + jnp.sum(outputs**2)
        return total, (cell, last, outputs)

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4), has_aux=True))


def close(found, expected, tolerance=1e-5):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        theirs = np.asarray(theirs, np.float64)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    case=st.sampled_from(SHAPES).flatmap(
        lambda shape: st.tuples(st.just(shape), numpy_strategies.arrays(bool, (TIME, shape[0])), st.integers(0, 99))
    )
)
@example(case=(SHAPES[1], MASK, 0))
@example(case=(SHAPES[1], MASK[::-1], 0))
@example(case=(SHAPES[1], np.zeros_like(MASK), 0))
def test_values_and_gradients_are_those_of_the_reference(kernel, case):
    shape, mask, seed = case
    weights = weights_of(*shape, seed)
    close(values_and_gradients(kernel)(*weights, mask), values_and_gradients("reference")(*weights, mask))


@pytest.mark.parametrize("kernel", GPU_FIRST)
def test_unused_outputs_change_nothing(kernel):
    weights = weights_of(3, 5, 0)
    found, expected = (values_and_gradients(name, False)(*weights, MASK) for name in (kernel, "reference"))
    close(found, expected)


@pytest.mark.parametrize("kernel", GPU_FIRST)
@pytest.mark.parametrize(
    "hidden", [pytest.param(size, marks=pytest.mark.slow) if size != 33 else size for size in (1, 33, 64, 512)]
)
def test_any_hidden_size(kernel, hidden):
    weights = weights_of(3, hidden, 1)
    close(values_and_gradients(kernel)(*weights, MASK), values_and_gradients("scan")(*weights, MASK), 1e-4)


@pytest.mark.parametrize("kernel", TPU_FIRST)
def test_in_bfloat16_the_kernels_round_like_the_scan(kernel):
    weights = weights_of(3, 16, 2, "bfloat16")
    found, expected = (values_and_gradients(name)(*weights, MASK) for name in (kernel, "scan"))
    assert found[0][0].dtype == jnp.bfloat16
    found, expected = (jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree) for tree in (found, expected))
    close(found, expected, 2e-2)


@pytest.mark.parametrize("kernel", TPU_FIRST)
def test_members_are_those_of_single_runs(kernel):
    members = [weights_of(3, 5, seed) for seed in (3, 4)]
    together = jax.vmap(values_and_gradients(kernel), in_axes=(0, 0, 0, 0, 0, None))
    found = together(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), MASK)
    for i, weights in enumerate(members):
        close(jax.tree.map(lambda leaf, i=i: leaf[i], found), values_and_gradients("scan")(*weights, MASK))


OVER_A_MESH = """
import sys
sys.path[:0] = sys.argv[1:]
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from test_lstm_kernels import KERNELS, close, values_and_gradients, weights_of

weights, mask = weights_of(8, 5, 5), np.random.default_rng(0).random((4, 8)) < 0.7
expected = values_and_gradients("scan")(*weights, mask)
mesh = Mesh(np.array(jax.devices()), ("data",))
rows = NamedSharding(mesh, PartitionSpec(None, "data"))
features, *others = weights
arguments = jax.device_put(features, rows), *others, jax.device_put(mask, rows)
for kernel in KERNELS:
    def over_mesh(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return values_and_gradients.__wrapped__(kernel)(*arguments)
    compiled = jax.jit(over_mesh).lower(*arguments).compile()
    assert "all-gather" not in compiled.as_text(), "each device reads its own rows"
    close(jax.device_get(compiled(*arguments)), jax.device_get(expected))
print(mesh.size)
"""


def test_over_a_mesh_every_device_reads_its_own_rows():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = [sys.executable, "-c", OVER_A_MESH, str(Path(__file__).parent), str(Path(preloaded.__file__).parent)]
    done = preloaded.run(command, env=environment, text=True)
    assert done.stdout.split() == ["4"], done.stderr


def test_an_lstm_that_does_not_fit_on_the_chip_uses_the_scan():
    assert fits("gpu", 32, 64, "float32")
    assert not fits("gpu", 32, 65, "float32")
    assert fits("gpu", 32, 64, "bfloat16")
    assert fits("tpu", 8, 512, "float32")
    assert not fits("tpu", 8, 2048, "float32")
    assert not fits("tpu", 4096, 512, "float32")
