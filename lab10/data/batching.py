"""Batches as a pure function of the shuffle seed and the step."""

import dataclasses
import functools
import itertools
import math

import numpy as np
from jaxtyping import Int

from lab10.data.dataset import HostBatch, Split

# Number of batches of the shuffled epoch within which examples are sorted by length. A larger pool would hardly save
# padding, a smaller pool would mix lengths. The examples of a batch are still drawn anew each epoch.
POOL_BATCHES = 64
# Index of padding rows, which fill a batch.
NO_EXAMPLE = -1


@dataclasses.dataclass(frozen=True)
class BatchIndices:
    """The indices of the examples in consecutive batches, all padded to one length.

    Attributes:
      examples: indices into the split, int64 [batches, rows]; `NO_EXAMPLE` marks padding rows.
      padded_length: length to which the examples are padded; None if examples have no length.
    """

    examples: Int[np.ndarray, "batches rows"]
    padded_length: int | None

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def num_examples(self) -> int:
        """Number of examples in all batches."""
        return int(np.count_nonzero(self.examples != NO_EXAMPLE))


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training run. The batch of a step depends only on the fields and the step.

    Every example occurs exactly once per epoch. If examples differ in length and the split has
    several padded lengths, the examples of a batch have similar lengths. One batch of an epoch may
    be partial; the rows that fill it are masked.
    """

    split: Split
    batch_size: int
    shuffle_seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in one pass over the split."""
        return math.ceil(len(self.split) / self.batch_size)

    def indices(self, start: int, end: int) -> BatchIndices:
        """Returns the batches of steps `start` to `end` - 1, up to the first step with a different padded length."""
        batches: list[np.ndarray] = []
        length = None
        for step in range(start, end):
            examples, step_length = self._step(step)
            if batches and step_length != length:
                break
            batches.append(examples)
            length = step_length
        return BatchIndices(np.stack(batches), length)

    def examples(self, step: int) -> Int[np.ndarray, " rows"]:
        """Returns the indices into the split of the examples of a step."""
        examples, _ = self._step(step)
        return examples[examples != NO_EXAMPLE]

    def batch(self, step: int) -> HostBatch:
        """Returns the batch of a step on the host, padded and masked: the plain twin of the device loader."""
        examples, length = self._step(step)
        return fill(self.split.batch(examples[examples != NO_EXAMPLE], length), len(examples))

    def _step(self, step: int) -> tuple[np.ndarray, int | None]:
        """Returns the examples [rows] and the padded length of a step."""
        epoch, i = divmod(step, self.steps_per_epoch)
        examples, lengths = self._epoch(epoch)
        return examples[i], lengths[i]

    def _epoch(self, epoch: int) -> tuple[np.ndarray, list[int | None]]:
        """Returns the examples [steps, rows] and the padded length of each step of an epoch."""
        if epoch not in self._epochs:
            if len(self._epochs) > 1:  # one call may cover steps of two epochs
                del self._epochs[min(self._epochs)]
            order = epoch_order(self.shuffle_seed, epoch, self.split, min(self.batch_size, len(self.split)))
            step_lengths = [self.split.padded_length(examples[examples != NO_EXAMPLE]) for examples in order]
            self._epochs[epoch] = order, step_lengths
        return self._epochs[epoch]

    @functools.cached_property
    def _epochs(self) -> dict[int, tuple[np.ndarray, list[int | None]]]:
        return {}


def epoch_order(shuffle_seed: int, epoch: int, split: Split, batch_size: int) -> Int[np.ndarray, "steps batch_size"]:
    """Returns the examples of each step of one epoch; `NO_EXAMPLE` fills the partial batch.

    The order is a random permutation, split into batches. If the split has several padded lengths,
    the permutation is sorted by length within pools of `POOL_BATCHES` batches. The batches of a
    pool with the same padded length are consecutive, so that they go to the device together; the
    order within a length and the order of the lengths are random.
    """
    random = np.random.default_rng([shuffle_seed, epoch])
    order = random.permutation(len(split))
    if len(split.padded_lengths) == 1 or split.lengths is None:
        return _split_into_batches(order, batch_size)
    pool_size = POOL_BATCHES * batch_size
    steps: list[np.ndarray] = []
    for start in range(0, len(split), pool_size):
        pool = order[start : start + pool_size]
        pool = pool[np.argsort(split.lengths[pool], kind="stable")]
        batches = _split_into_batches(pool, batch_size)
        last_of_batch = pool[np.minimum(np.arange(1, len(batches) + 1) * batch_size, len(pool)) - 1]
        buckets = np.searchsorted(np.array(split.padded_lengths), split.lengths[last_of_batch])
        steps += [
            batches[random.permutation(np.flatnonzero(buckets == bucket))]
            for bucket in random.permutation(buckets.max() + 1)
        ]
    return np.concatenate(steps)


def _split_into_batches(order: Int[np.ndarray, " examples"], batch_size: int) -> Int[np.ndarray, "steps batch_size"]:
    """Returns the order as rows of `batch_size` examples, the last row filled with `NO_EXAMPLE`."""
    batches = np.full((math.ceil(len(order) / batch_size), batch_size), NO_EXAMPLE)
    batches.reshape(-1)[: len(order)] = order
    return batches


def evaluation_batches(split: Split, batch_size: int, max_per_group: int = 1) -> list[BatchIndices]:
    """Returns batches with every example of a split once, sorted by length, in groups of at most `max_per_group`.

    The last batch is filled with `NO_EXAMPLE`.
    """
    order = np.arange(len(split)) if split.lengths is None else np.argsort(split.lengths, kind="stable")
    batches = _split_into_batches(order, batch_size)
    lengths = [split.padded_length(examples[examples != NO_EXAMPLE]) for examples in batches]
    groups: list[BatchIndices] = []
    for length, indices in itertools.groupby(range(len(batches)), key=lengths.__getitem__):
        group = batches[list(indices)]
        groups += [BatchIndices(group[i : i + max_per_group], length) for i in range(0, len(group), max_per_group)]
    return groups


def fill(batch: HostBatch, rows: int) -> HostBatch:
    """Pads a batch with rows of zeros to `rows` rows and adds `mask`, bool [rows], which is false in those rows."""
    real = len(batch["inputs"])
    filled = {name: np.pad(array, [(0, rows - real)] + [(0, 0)] * (array.ndim - 1)) for name, array in batch.items()}
    return filled | {"mask": np.arange(rows) < real}
