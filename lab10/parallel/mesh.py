"""The device mesh of a run, and the sharding of arrays over it."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from lab10.config.errors import UserError
from lab10.config.fields import field, require_at_least

# Name of the only mesh axis, over which the rows of a batch are sharded.
DATA = "data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceMesh:
    """The devices of a run, over all processes. The choice changes results only by rounding."""

    option_prefix: ClassVar[str] = "mesh."

    data: int | None = field(None, affects_result=False)
    """Devices that each batch is sharded over, the same number in every process; None: all devices."""
    shard_optimizer: bool = field(False, affects_result=False)
    """Whether to shard the optimizer state over the devices (ZeRO stage 1, Rajbhandari et al. 2020)."""

    def __post_init__(self):
        require_at_least(1, self, "data")

    def build(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """Builds the mesh; the devices of each process are adjacent.

        Args:
          devices: devices to choose from, such as those of hardware to compile for; None: all available devices.

        Raises:
          UserError: fewer devices are available, or the number is not a multiple of the number of processes.
        """
        devices = sorted(jax.devices() if devices is None else devices, key=lambda d: (d.process_index, d.id))
        processes = len({device.process_index for device in devices})
        requested = len(devices) if self.data is None else self.data
        per_process, remainder = divmod(requested, processes)
        if remainder or per_process > len(devices) // processes:
            raise UserError(
                f"--mesh.data is {requested}; expected at most {len(devices)}, the number of available devices"
                + (f", and a multiple of the {processes} processes." if processes > 1 else ".")
            )
        return Mesh(np.array(devices).reshape(processes, -1)[:, :per_process].reshape(-1), (DATA,))


def local_mesh() -> Mesh:
    """Returns a mesh of all devices of this process, as inspection uses."""
    return Mesh(np.array(jax.local_devices()), (DATA,))


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Returns the sharding of arrays of which every device has a copy."""
    return NamedSharding(mesh, PartitionSpec())


def largest_axis_sharding(mesh: Mesh | AbstractMesh, array: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
    """Returns a sharding along the largest axis of an array that the number of devices divides.

    An array without such an axis is replicated.
    """
    divisible = [axis for axis, size in enumerate(array.shape) if size >= mesh.size and size % mesh.size == 0]
    if not divisible:
        return replicated(mesh)
    sharded = max(divisible, key=array.shape.__getitem__)
    return NamedSharding(mesh, PartitionSpec(*[DATA if axis == sharded else None for axis in range(len(array.shape))]))
