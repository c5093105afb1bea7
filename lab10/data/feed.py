"""How batches reach the devices: gathered there from the whole split, or, where that is too large, sent."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lab10.data.batching import NO_EXAMPLE, Steps
from lab10.data.dataset import Batch, HostBatch, Spec, Split


class Fed(struct.PyTreeNode):
    """The examples of some steps, on the devices.

    Attributes:
      table: what a split's `read` gives: of the whole split, rows first, or of these steps alone, [capacity, rows].
      places: rows of the table of the whole split, int32 [capacity, rows]; `NO_EXAMPLE` where a row only fills the
        batch.
      count: how many of them are steps, int32 []; what follows is blank.
      length: what the batches are padded to; None where examples have no length.
      batch_size: rows of a batch; those beyond are there for the devices to have equally many.
      streamed: whether the table holds these steps alone.
    """

    table: Batch
    places: jax.Array
    count: jax.Array
    length: int | None = struct.field(pytree_node=False)
    batch_size: int = struct.field(pytree_node=False)
    streamed: bool = struct.field(pytree_node=False)

    def batch(self, spec: Spec, step: jax.Array | int) -> Batch:
        """The batch of one of the steps, with `mask`. Pure; runs on the devices."""
        # Without the rows beyond, so that a step's randomness, drawn for all rows at once, depends on no device.
        places = self.places[step][: self.batch_size]
        if self.streamed:
            batch = {name: rows[step][: self.batch_size] for name, rows in self.table.items()}
        else:
            batch = {name: rows[jnp.maximum(places, 0)] for name, rows in self.table.items()}
        return spec.cut(batch, self.length) | {"mask": places != NO_EXAMPLE}


class Feed:
    """Puts the examples of steps on the devices of all processes.

    Of what is streamed each process reads the rows of its own devices and no others. Transfers are
    asynchronous, so the next steps are on their way while the devices work on those before.

    Attributes:
      split: whose examples.
      capacity: the most steps at a time; one program serves any number of them.
      resident: whether the whole split lies on every device, so that only the rows' numbers are sent.
    """

    def __init__(self, split: Split, mesh: Mesh, capacity: int, resident_bytes: int):
        self.split, self.capacity, self._mesh = split, capacity, mesh
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._rows = NamedSharding(mesh, PartitionSpec(None, *mesh.axis_names))
        bytes_each = sum(array[:1].nbytes for array in split.batch(np.arange(min(1, len(split)))).values())
        # A host that has one of many parts of each batch should not have to read the whole split for it.
        self.resident = bytes_each * len(split) <= resident_bytes and not mesh.is_multi_process
        self._table = jax.device_put(split.batch(np.arange(len(split))), self._replicated) if self.resident else None

    def __call__(self, steps: Steps) -> Fed:
        """The examples of at most `capacity` steps."""
        count, batch_size = steps.examples.shape
        rows = math.ceil(batch_size / self._mesh.size) * self._mesh.size
        places = np.full((self.capacity, rows), NO_EXAMPLE, np.int32)
        places[:count, :batch_size] = steps.examples
        table = self._table
        if table is None:
            own = self._rows_of_this_process(rows)
            table = {
                name: jax.make_array_from_process_local_data(self._rows, of_own, (*places.shape, *of_own.shape[2:]))
                for name, of_own in self._read(places[:, own], steps.length).items()
            }
        places_there, count_there = self._put(places, self._rows), self._put(np.int32(count), self._replicated)
        return Fed(table, places_there, count_there, steps.length, batch_size, not self.resident)

    def _put(self, array: np.ndarray | np.int32, sharding: NamedSharding) -> jax.Array:
        if not self._mesh.is_multi_process:
            return jax.device_put(array, sharding)
        # `device_put` would have the processes compare what each puts: a function of the step, and so the same.
        return jax.make_array_from_callback(np.shape(array), sharding, np.asarray(array).__getitem__)

    def _rows_of_this_process(self, rows: int) -> slice:
        """Which of a batch's rows lie on this process's devices, which are neighbours in the mesh."""
        own = jax.process_index()
        places = [place for place, device in enumerate(self._mesh.devices) if device.process_index == own]
        of_each = rows // self._mesh.size
        return slice(places[0] * of_each, (places[-1] + 1) * of_each)

    def _read(self, examples: np.ndarray, length: int | None) -> HostBatch:
        """What the split has of examples, [steps, rows] of them; zeros for `NO_EXAMPLE`."""
        real = examples != NO_EXAMPLE
        read = self.split.batch(examples[real], length)
        table = {name: np.zeros((*examples.shape, *array.shape[1:]), array.dtype) for name, array in read.items()}
        for name, array in read.items():
            table[name][real] = array
        return table
