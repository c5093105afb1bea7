"""Loads batches onto the devices: gathered there from the whole split, or streamed if the split is too large."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lab10.data.batching import NO_EXAMPLE, BatchIndices
from lab10.data.dataset import Batch, HostBatch, Spec, Split
from lab10.parallel.mesh import replicated

# Limit on what one call of `load` sends of a streamed split, unless two batches are larger.
MAX_STREAMED_BYTES = 2**26


class DeviceBatches(struct.PyTreeNode):
    """Batches on the devices. `batches[i]` is the batch with index `i`; indexing is pure and runs on the devices.

    Attributes:
      arrays: the arrays of `Split.read`: the whole split, rows first; if streamed, only these batches,
        [max_batches, rows, …].
      row_ids: indices of the examples in the whole split, int32 [max_batches, rows]; `NO_EXAMPLE` marks padding
        rows.
      num_batches: number of batches, int32 []; later ones hold only padding rows.
      spec: the description of the dataset.
      padded_length: length to which the examples are padded; None if examples have no length.
      batch_size: rows of a batch. The arrays may have more: padding, so that every device has equally many.
      streamed: whether `arrays` holds only these batches.
    """

    # Not only arrays: the same tree holds their shapes.
    arrays: Any
    row_ids: Any
    num_batches: Any
    spec: Spec = struct.field(pytree_node=False)
    padded_length: int | None = struct.field(pytree_node=False)
    batch_size: int = struct.field(pytree_node=False)
    streamed: bool = struct.field(pytree_node=False)

    @property
    def max_batches(self) -> int:
        """Maximal number of batches."""
        return len(self.row_ids)

    def __getitem__(self, i: jax.Array | int) -> Batch:
        """Returns the batch with index `i`, with `mask` and `row_ids`."""
        # Without the rows after `batch_size`, so that randomness drawn for a batch does not depend on the devices.
        row_ids = self.row_ids[i][: self.batch_size]
        if self.streamed:
            batch = {name: rows[i][: self.batch_size] for name, rows in self.arrays.items()}
        else:
            batch = {name: rows[jnp.maximum(row_ids, 0)] for name, rows in self.arrays.items()}
        batch = self.spec.trim_padding(batch, self.padded_length)
        return batch | {"row_ids": row_ids, "mask": row_ids != NO_EXAMPLE}


class DeviceLoader:
    """Loads the batches of a split onto the devices of all processes.

    If the split is streamed, each process reads only the rows of its own devices. Transfers are
    asynchronous: the next batches are loaded while the devices compute on the previous batches.

    Args:
      split: the examples.
      spec: the description of the dataset.
      mesh: the devices.
      max_batches: maximal number of batches per call of `load`; `max_batches_for` limits it further. One compiled
        program serves any smaller number.
      max_resident_bytes: maximal size of a split that is stored on the devices; a larger split is streamed.

    Attributes:
      resident: whether the whole split is stored on every device, so that only row ids are transferred.
    """

    def __init__(self, split: Split, spec: Spec, mesh: Mesh, max_batches: int, max_resident_bytes: int):
        self.split, self.max_batches, self._spec, self._mesh = split, max_batches, spec, mesh
        self._replicated = replicated(mesh)
        self._rows = NamedSharding(mesh, PartitionSpec(None, *mesh.axis_names))
        self._bytes_per_example = sum(array.nbytes for array in split.batch(np.arange(min(1, len(split)))).values())
        # With several processes, no process should read the whole split for its rows of each batch.
        self.resident = self._bytes_per_example * len(split) <= max_resident_bytes and not mesh.is_multi_process

    def max_batches_for(self, batch_size: int) -> int:
        """Returns the maximal number of batches of this size per call of `load`: fewer if streamed and large."""
        if self.resident:
            return self.max_batches
        # With room for only one batch, XLA would move it out of the loop over batches, and round differently.
        fitting = max(2, MAX_STREAMED_BYTES // max(1, self._bytes_per_example * self._num_rows(batch_size)))
        return min(self.max_batches, fitting)

    def load(self, indices: BatchIndices) -> DeviceBatches:
        """Loads at most `max_batches_for(batch_size)` batches onto the devices."""
        count, batch_size = indices.examples.shape
        rows = self._num_rows(batch_size)
        row_ids = np.full((self.max_batches_for(batch_size), rows), NO_EXAMPLE, np.int32)
        row_ids[:count, :batch_size] = indices.examples
        if self.resident:
            arrays = self._whole_split
        else:
            own = self._rows_of_this_process(rows)
            arrays = {
                name: jax.make_array_from_process_local_data(self._rows, array, (*row_ids.shape, *array.shape[2:]))
                for name, array in self._read(row_ids[:, own], indices.padded_length).items()
            }
        return DeviceBatches(
            arrays,
            self._put(row_ids, self._rows),
            self._put(np.int32(count), self._replicated),
            self._spec,
            indices.padded_length,
            batch_size,
            not self.resident,
        )

    def abstract_batches(self, batch_size: int, padded_length: int | None) -> DeviceBatches:
        """Returns shapes, dtypes and shardings of what `load` returns, without reading more than one example."""
        rows, max_batches = self._num_rows(batch_size), self.max_batches_for(batch_size)
        leading, sharding = (
            ((len(self.split),), self._replicated) if self.resident else ((max_batches, rows), self._rows)
        )
        example = self.split.batch(np.arange(1), None if self.resident else padded_length)
        arrays = {
            name: jax.ShapeDtypeStruct((*leading, *array.shape[1:]), array.dtype, sharding=sharding)
            for name, array in example.items()
        }
        return DeviceBatches(
            arrays,
            jax.ShapeDtypeStruct((max_batches, rows), np.int32, sharding=self._rows),
            jax.ShapeDtypeStruct((), np.int32, sharding=self._replicated),
            self._spec,
            padded_length,
            batch_size,
            not self.resident,
        )

    @functools.cached_property
    def _whole_split(self) -> Batch:
        """The whole split on every device."""
        return jax.device_put(self.split.batch(np.arange(len(self.split))), self._replicated)

    def _num_rows(self, batch_size: int) -> int:
        """Returns the rows of a batch with which every device has the same number of rows."""
        return math.ceil(batch_size / self._mesh.size) * self._mesh.size

    def _put(self, array: np.ndarray | np.int32, sharding: NamedSharding) -> jax.Array:
        if not self._mesh.is_multi_process:
            return jax.device_put(array, sharding)
        # `device_put` would compare the arrays of all processes. They depend only on the step, so they are equal.
        return jax.make_array_from_callback(np.shape(array), sharding, np.asarray(array).__getitem__)

    def _rows_of_this_process(self, rows: int) -> slice:
        """Returns the rows of a batch on the devices of this process, which are adjacent in the mesh."""
        process = jax.process_index()
        own = [i for i, device in enumerate(self._mesh.devices) if device.process_index == process]
        rows_per_device = rows // self._mesh.size
        return slice(own[0] * rows_per_device, (own[-1] + 1) * rows_per_device)

    def _read(self, examples: np.ndarray, length: int | None) -> HostBatch:
        """Reads the examples with these indices, [batches, rows]; rows of `NO_EXAMPLE` are zeros."""
        real = examples != NO_EXAMPLE
        read = self.split.batch(examples[real], length)
        arrays = {name: np.zeros((*examples.shape, *array.shape[1:]), array.dtype) for name, array in read.items()}
        for name, array in read.items():
            arrays[name][real] = array
        return arrays
