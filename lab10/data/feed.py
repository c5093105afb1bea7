"""How batches reach the device: gathered there from the whole split, or, where that is too large, from a part of it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lab10.data.batching import NO_EXAMPLE, Steps
from lab10.data.dataset import Batch, HostBatch, Spec, Split


class Fed(struct.PyTreeNode):
    """The examples of some steps, on the device.

    Attributes:
      table: what a split's `read` gives, rows first: the whole split, or the examples of these steps alone.
      places: rows of the table, int32 [capacity, rows]; `NO_EXAMPLE` where a row only fills the batch.
      count: how many of them are steps, int32 []; what follows is blank.
      length: what the batches are padded to; None where examples have no length.
    """

    table: Batch
    places: jax.Array
    count: jax.Array
    length: int | None = struct.field(pytree_node=False)

    def batch(self, spec: Spec, step: jax.Array | int) -> Batch:
        """The batch of one of the steps, with `mask`. Pure; runs on the device."""
        places = self.places[step]
        batch = spec.cut({name: rows[jnp.maximum(places, 0)] for name, rows in self.table.items()}, self.length)
        return batch | {"mask": places != NO_EXAMPLE}


class Feed:
    """Puts the examples of steps on the device.

    Both ways end in the same program: what is streamed is a small table, of the examples of the
    steps at hand, in their order. Transfers are asynchronous, so the next table is on its way while
    the device works on the one before.

    Attributes:
      split: whose examples.
      capacity: the most steps at a time; one program serves any number of them.
      resident: whether the whole split lies on the device.
    """

    def __init__(self, split: Split, mesh: Mesh, capacity: int, resident_bytes: int):
        self.split, self.capacity = split, capacity
        self._replicated = NamedSharding(mesh, PartitionSpec())
        self._rows = NamedSharding(mesh, PartitionSpec(None, "data"))
        bytes_each = sum(array[:1].nbytes for array in split.batch(np.arange(min(1, len(split)))).values())
        self.resident = bytes_each * len(split) <= resident_bytes
        self._table = jax.device_put(split.batch(np.arange(len(split))), self._replicated) if self.resident else None

    def __call__(self, steps: Steps) -> Fed:
        """The examples of at most `capacity` steps."""
        missing = self.capacity - len(steps.examples)
        places = np.pad(steps.examples, [(0, missing), (0, 0)], constant_values=NO_EXAMPLE).astype(np.int32)
        table = self._table
        if table is None:
            table = jax.device_put(self._read(places.reshape(-1), steps.length), self._replicated)
            numbers = np.arange(places.size, dtype=np.int32).reshape(places.shape)
            places = np.where(places == NO_EXAMPLE, NO_EXAMPLE, numbers)
        count = jax.device_put(np.int32(len(steps.examples)), self._replicated)
        return Fed(table, jax.device_put(places, self._rows), count, steps.length)

    def _read(self, examples: np.ndarray, length: int | None) -> HostBatch:
        """Rows of the examples, of zeros for `NO_EXAMPLE`: one shape for any number of steps."""
        real = examples != NO_EXAMPLE
        read = self.split.batch(examples[real], length)
        table = {name: np.zeros((len(examples), *array.shape[1:]), array.dtype) for name, array in read.items()}
        for name, array in read.items():
            table[name][real] = array
        return table
