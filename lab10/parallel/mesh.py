"""The devices of a run as a mesh, and what lies on it whole or in parts."""

import dataclasses

import jax
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from lab10.config.fields import field, require_at_least
from lab10.errors import UserError

# The mesh's one axis, along which the rows of a batch lie.
DATA = "data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceMesh:
    """The devices of a run, over all its processes. They affect the result only by rounding."""

    data: int | None = field(None, affects_result=False)
    """Number of devices that share each batch, the same for every process; None: all devices."""
    shard_optimizer: bool = field(False, affects_result=False)
    """Whether to shard the optimizer's state over the devices (Rajbhandari et al. 2020, ZeRO stage 1)."""

    def __post_init__(self):
        require_at_least(1, self, "data", prefix="mesh.")

    def build(self) -> Mesh:
        """The mesh, each process's devices side by side.

        Raises:
          UserError: there are not so many devices, or the processes cannot have equally many of them.
        """
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        wanted, processes = len(devices) if self.data is None else self.data, jax.process_count()
        of_each, left = divmod(wanted, processes)
        if left or of_each > jax.local_device_count():
            raise UserError(
                f"--mesh.data is {wanted}; expected at most the {len(devices)} devices that there are"
                + (f", and a multiple of the {processes} processes." if processes > 1 else ".")
            )
        per_process = np.array(devices).reshape(processes, -1)
        return Mesh(per_process[:, :of_each].reshape(-1), (DATA,))


def local_mesh() -> Mesh:
    """All devices of this process: what inspection uses."""
    return Mesh(np.array(jax.local_devices()), (DATA,))


def in_parts(mesh: Mesh | AbstractMesh, leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
    """An array cut along the largest dimension that the devices divide; whole on each where there is none."""
    fitting = [axis for axis, size in enumerate(leaf.shape) if size >= mesh.size and size % mesh.size == 0]
    if not fitting:
        return NamedSharding(mesh, PartitionSpec())
    cut = max(fitting, key=leaf.shape.__getitem__)
    return NamedSharding(mesh, PartitionSpec(*[DATA if axis == cut else None for axis in range(len(leaf.shape))]))
