"""The lab's squared error: summed over pixels, one number an image."""

import jax
import jax.numpy as jnp
import numpy as np

from lab10.tasks.reconstruction import Reconstruction

KEY = jax.random.key(0)


def test_the_error_is_summed_over_pixels_for_each_image():
    outputs, targets = jnp.array([[0.0, 1.0, 0.5], [2.0, 0.0, 0.0]]), jnp.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    values = Reconstruction().per_example(outputs, {"targets": targets, "inputs": targets + 9}, KEY)
    np.testing.assert_allclose(values["loss"], [1.25, 5.0])
    np.testing.assert_array_equal(values["reconstruction_error"], values["loss"])


def test_per_example_returns_the_declared_metrics():
    task = Reconstruction()
    assert list(task.metrics) == list(task.per_example(jnp.zeros((2, 3)), {"targets": jnp.zeros((2, 3))}, KEY))
    assert not any(task.metrics.values()), "of errors the lower is the better"
    assert task.extra_columns(jnp.zeros((2, 3)), {}, KEY) == {}
