"""Meshes: how many devices, and which arrays lie on them in parts."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from lab10.errors import UserError
from lab10.parallel.mesh import DeviceMesh, in_parts

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
def test_an_array_is_cut_along_the_largest_dimension_that_the_devices_divide(shape, expected):
    assert in_parts(EIGHT, jax.ShapeDtypeStruct(shape, np.float32)).spec == expected


def test_all_devices_are_used_where_no_number_is_given():
    assert DeviceMesh().build().size == jax.device_count()


def test_more_devices_than_there_are_are_refused():
    wanted = jax.device_count() + 1
    with pytest.raises(UserError, match=rf"--mesh.data is {wanted}; expected at most the {jax.device_count()} devices"):
        DeviceMesh(data=wanted).build()
    with pytest.raises(UserError, match=r"--mesh\.data is 0; expected at least 1"):
        DeviceMesh(data=0)
