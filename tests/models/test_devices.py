"""What the mesh in the context tells models."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, Mesh

from lab10.models.devices import num_devices, platform_dependent


def called(x):
    raise AssertionError("a function for another platform is traced")


@pytest.mark.parametrize("in_mesh", [False, True])
def test_on_a_cpu_only_its_function_is_traced(in_mesh):
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",)).abstract_mesh if in_mesh else AbstractMesh((), ())

    def compute(x):
        with jax.sharding.use_abstract_mesh(mesh):
            return (
                platform_dependent(x, cpu=lambda x: x + 1, default=called),
                platform_dependent(x, cuda=called, tpu=called, default=lambda x: x + 2),
            )

    assert jax.jit(compute)(1.0) == (2.0, 3.0)


@pytest.mark.parametrize("devices", [1, 8])
def test_rows_are_sharded_over_the_devices_of_the_mesh(devices):
    assert num_devices() == 1
    with jax.sharding.use_abstract_mesh(AbstractMesh((devices,), ("data",))):
        assert num_devices() == devices
