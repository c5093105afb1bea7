"""Device meshes: the number of devices, and the sharding of arrays."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from lab10.config.errors import UserError
from lab10.parallel.mesh import DeviceMesh, largest_axis_sharding

EIGHT = AbstractMesh((8,), ("data",))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), PartitionSpec()),
        ((7,), PartitionSpec()),
        ((64,), PartitionSpec("data")),
        ((784, 256), PartitionSpec("data", None)),
        ((256, 784), PartitionSpec(None, "data")),
        ((10001, 64), PartitionSpec(None, "data")),
        ((10001, 33), PartitionSpec()),
        ((0, 3), PartitionSpec()),
    ],
)
def test_an_array_is_sharded_along_its_largest_divisible_axis(shape, expected):
    assert largest_axis_sharding(EIGHT, jax.ShapeDtypeStruct(shape, np.float32)).spec == expected


def test_all_devices_are_used_by_default():
    assert DeviceMesh().build().size == jax.device_count()


def test_more_devices_than_available_are_refused():
    requested = jax.device_count() + 1
    message = rf"--mesh.data is {requested}; expected at most {jax.device_count()}, the number of available devices"
    with pytest.raises(UserError, match=message):
        DeviceMesh(data=requested).build()
    with pytest.raises(UserError, match=r"--mesh\.data is 0; expected at least 1"):
        DeviceMesh(data=0)
