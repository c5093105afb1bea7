"""Batches, as a pure function of the shuffle seed and the step."""

import dataclasses
import functools
import itertools
import math

import numpy as np
from jaxtyping import Int

from lab10.data.dataset import HostBatch, Split

# Examples are sorted by length within so many batches of the shuffled epoch: more would hardly save padding, fewer
# would mix lengths. What shares a batch is still drawn anew each epoch.
POOL_BATCHES = 64
# Stands for no example, in the rows that only fill a batch.
NO_EXAMPLE = -1


@dataclasses.dataclass(frozen=True)
class BatchIndices:
    """Which examples are in some consecutive batches, all padded to one length.

    Attributes:
      examples: indices into the split, int64 [batches, rows]; `NO_EXAMPLE` in rows that fill a batch.
      length: length to which the examples are padded; None if they have no length.
    """

    examples: Int[np.ndarray, "batches rows"]
    length: int | None

    def __len__(self) -> int:
        return len(self.examples)


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """The batches of a training run. The batch of a step depends only on these fields and the step.

    Every example comes exactly once an epoch. Where examples differ in length and there is more
    than one length to pad to, those of a batch have similar ones. One batch of an epoch may be
    partial; the rows that fill it are masked.
    """

    split: Split
    batch_size: int
    shuffle_seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps in a pass over the split."""
        return math.ceil(len(self.split) / self.batch_size)

    def indices(self, start: int, end: int) -> BatchIndices:
        """The batches of steps `start` to `end` - 1, or of the first of them that are padded to one length."""
        batches: list[np.ndarray] = []
        length = None
        for step in range(start, end):
            examples, length_of_step = self._of_step(step)
            if batches and length_of_step != length:
                break
            batches.append(examples)
            length = length_of_step
        return BatchIndices(np.stack(batches), length)

    def examples(self, step: int) -> Int[np.ndarray, " rows"]:
        """Positions in the split of the examples of a step, counted from 0."""
        examples, _ = self._of_step(step)
        return examples[examples != NO_EXAMPLE]

    def batch(self, step: int) -> HostBatch:
        """The batch of a step on the host, padded and masked: the plain twin of what is gathered on the device."""
        examples, length = self._of_step(step)
        return fill(self.split.batch(examples[examples != NO_EXAMPLE], length), len(examples))

    def _of_step(self, step: int) -> tuple[np.ndarray, int | None]:
        epoch, i = divmod(step, self.steps_per_epoch)
        examples, lengths = self._epoch(epoch)
        return examples[i], lengths[i]

    def _epoch(self, epoch: int) -> tuple[np.ndarray, list[int | None]]:
        """Examples [steps, rows] and padded length of each step of an epoch."""
        if epoch not in self._epochs:
            if len(self._epochs) > 1:  # a run of steps may reach into the next epoch
                del self._epochs[min(self._epochs)]
            order = epoch_order(self.shuffle_seed, epoch, self.split, min(self.batch_size, len(self.split)))
            lengths_of_steps = [self.split.padded_length(examples[examples != NO_EXAMPLE]) for examples in order]
            self._epochs[epoch] = order, lengths_of_steps
        return self._epochs[epoch]

    @functools.cached_property
    def _epochs(self) -> dict[int, tuple[np.ndarray, list[int | None]]]:
        return {}


def epoch_order(shuffle_seed: int, epoch: int, split: Split, batch_size: int) -> Int[np.ndarray, "steps batch_size"]:
    """Returns the examples of each step of one epoch; `NO_EXAMPLE` fills the partial batch.

    A random permutation, cut into batches. Where there are several lengths to pad to, it is sorted
    by length within pools of `POOL_BATCHES` batches; the batches of a pool that are padded to one
    length follow each other, so that they go to the device together, in random order within and
    among lengths.
    """
    random = np.random.default_rng([shuffle_seed, epoch])
    order = random.permutation(len(split))
    if len(split.padded_lengths) == 1 or split.lengths is None:
        return _cut(order, batch_size)
    pool = POOL_BATCHES * batch_size
    steps: list[np.ndarray] = []
    for start in range(0, len(split), pool):
        members = order[start : start + pool]
        members = members[np.argsort(split.lengths[members], kind="stable")]
        batches = _cut(members, batch_size)
        longest = split.lengths[members[np.minimum(np.arange(1, len(batches) + 1) * batch_size, len(members)) - 1]]
        bucket = np.searchsorted(np.array(split.padded_lengths), longest)
        steps += [
            batches[random.permutation(np.flatnonzero(bucket == one))] for one in random.permutation(bucket.max() + 1)
        ]
    return np.concatenate(steps)


def _cut(order: Int[np.ndarray, " examples"], batch_size: int) -> Int[np.ndarray, "steps batch_size"]:
    batches = np.full((math.ceil(len(order) / batch_size), batch_size), NO_EXAMPLE)
    batches.reshape(-1)[: len(order)] = order
    return batches


def evaluation_batches(split: Split, batch_size: int, capacity: int = 1) -> list[BatchIndices]:
    """Every example of a split once, sorted by length, at most `capacity` batches at a time; the last is filled up."""
    order = np.arange(len(split)) if split.lengths is None else np.argsort(split.lengths, kind="stable")
    batches = _cut(order, batch_size)
    lengths = [split.padded_length(examples[examples != NO_EXAMPLE]) for examples in batches]
    groups: list[BatchIndices] = []
    for length, numbers in itertools.groupby(range(len(batches)), key=lengths.__getitem__):
        group = batches[list(numbers)]
        groups += [BatchIndices(group[i : i + capacity], length) for i in range(0, len(group), capacity)]
    return groups


def fill(batch: HostBatch, rows: int) -> HostBatch:
    """Adds `mask`, bool [rows], and rows of zeros, which it leaves out, up to `rows`."""
    real = len(batch["inputs"])
    filled = {name: np.pad(array, [(0, rows - real)] + [(0, 0)] * (array.ndim - 1)) for name, array in batch.items()}
    return filled | {"mask": np.arange(rows) < real}
