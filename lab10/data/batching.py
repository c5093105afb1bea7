"""Batches as a pure function of the order seed and the step, on the device before they are needed."""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from jaxtyping import Int

from lab10.data.dataset import Batch, HostBatch, Split


@functools.lru_cache(maxsize=2)
def epoch_order(order_seed: int, epoch: int, examples: int) -> Int[np.ndarray, " examples"]:
    """The order of the examples in one epoch."""
    order = np.random.default_rng([order_seed, epoch]).permutation(examples)
    order.setflags(write=False)  # it is shared by all who ask again
    return order


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training run: `batch(step)` depends on the fields and on `step` alone.

    Every example comes exactly once an epoch; the last batch of an epoch is filled up to
    `padded_size` rows, as every batch is where `padded_size` is above `batch_size`, and the rows
    that fill it are masked.
    """

    split: Split
    batch_size: int
    order_seed: int
    padded_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps in a pass over the split."""
        return math.ceil(len(self.split) / self.batch_size)

    def examples(self, step: int) -> Int[np.ndarray, " rows"]:
        """Positions in the split of the examples of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.order_seed, epoch, len(self.split))
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def batch(self, step: int) -> HostBatch:
        """The batch of a step, padded and masked."""
        return fill(self.split.batch(self.examples(step)), self.padded_size)


def evaluation_batches(split: Split, batch_size: int) -> Iterator[HostBatch]:
    """Every example of a split once, in order; the last batch is filled and masked."""
    for start in range(0, len(split), batch_size):
        yield fill(split.batch(np.arange(start, min(start + batch_size, len(split)))), batch_size)


def fill(batch: HostBatch, rows: int) -> HostBatch:
    """Adds `mask`, bool [rows], and rows of zeros, which it leaves out, up to `rows`."""
    real = len(batch["inputs"])
    filled = {name: np.pad(array, [(0, rows - real)] + [(0, 0)] * (array.ndim - 1)) for name, array in batch.items()}
    return filled | {"mask": np.arange(rows) < real}


def on_device(batches: Iterable[HostBatch], sharding: jax.sharding.Sharding, ahead: int = 2) -> Iterator[Batch]:
    """Batches on the device, up to `ahead` of them on their way before the first is taken.

    Transfers are asynchronous: while the device works on a step, the host prepares the next ones.
    """
    waiting: collections.deque[Batch] = collections.deque()
    for batch in batches:
        waiting.append(jax.device_put(batch, sharding))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting
