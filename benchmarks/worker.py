"""The protocol that every peer of the benchmark answers: one process, one command a line, one JSON object a line.

    python benchmarks/PEER.py TASK ARRAYS --seed S

The worker builds its model, takes one step, says {"ready": true, …}, and then answers `epoch`, `evaluate BATCH_SIZE`
and `finish` on standard input. Standard output carries the answers alone.
"""

import abc
import argparse
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TASKS = ("imdb_lstm", "mnist_pca", "mnist_autoencoder_lab")
BATCH_SIZE = 32

# The models of experiments/, which every peer builds; lab10's own fields are the reference.
NUM_EMBEDDINGS, EMBEDDING_FEATURES, HIDDEN = 10_001, 64, 32
PIXELS, LATENT, WIDTH = 784, 64, 256
LEARNING_RATE = {"imdb_lstm": 1e-3, "mnist_pca": 1e-3, "mnist_autoencoder_lab": 1e-2}
LINEAR_STDDEV = (6 / (LATENT + PIXELS)) ** 0.5

Arrays = dict[str, np.ndarray]


class Peer(abc.ABC):
    """One way to train a task.

    Attributes:
      task: one of `TASKS`.
      arrays: `train_inputs` and `test_inputs`, for texts with `train_labels` and `test_labels`.
      seed: of the parameters and of the order of examples.
      hidden: size of the LSTM's state.
      variant: of the model or of its padding, if the peer has several; None: the usual one.
      max_steps: an epoch ends after that many steps; None: with the last example.
    """

    hidden: int = HIDDEN
    variant: str | None = None
    max_steps: int | None = None

    def __init__(self, task: str, arrays: Arrays, seed: int):
        self.task, self.arrays, self.seed = task, arrays, seed
        self.rng = np.random.default_rng(seed)

    @property
    def steps(self) -> int:
        """Steps in an epoch, the last partial batch counted."""
        return -(-self.examples // BATCH_SIZE)

    @property
    def examples(self) -> int:
        """Examples in an epoch."""
        examples = len(self.arrays["train_inputs"])
        return examples if self.max_steps is None else min(examples, self.max_steps * BATCH_SIZE)

    def shuffled_batches(self) -> Iterator[np.ndarray]:
        """The positions of each batch of an epoch in a fresh random order, int64 [batch]."""
        return batches(self.rng.permutation(len(self.arrays["train_inputs"]))[: self.examples], BATCH_SIZE)

    @abc.abstractmethod
    def build_and_first_step(self) -> None:
        """Builds everything and finishes one training step on the first batch."""

    @abc.abstractmethod
    def epoch(self) -> float:
        """Trains one epoch, waits for the device, and returns the mean loss of the examples."""

    @abc.abstractmethod
    def evaluate(self, batch_size: int) -> dict[str, float]:
        """The metrics of the whole test split."""


def batches(examples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive batches of `size` examples; the last may be shorter."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def pixels_of(images: np.ndarray) -> np.ndarray:
    """Bytes as float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def right_padded(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves the zeros in front of each row behind it.

    Returns:
      The rows, int32 [rows, time], and the tokens in each, int32 [rows].
    """
    lengths = (tokens != 0).sum(axis=1)
    time_steps = tokens.shape[1]
    indices = (np.arange(time_steps)[None] + (time_steps - lengths)[:, None]) % time_steps
    return np.take_along_axis(tokens, indices, axis=1), lengths.astype(np.int32)


def peer_parser() -> argparse.ArgumentParser:
    """The arguments of every worker."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("arrays", metavar="ARRAYS", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def load_arrays(path: Path) -> Arrays:
    """The arrays of an .npz, in memory."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def serve(peer: Peer) -> None:
    """Answers commands until `finish` or the end of standard input."""
    with _standard_output_kept() as answers:
        _, seconds = timed(peer.build_and_first_step)
        _answer(answers, {"ready": True, "first_step_build_seconds": seconds})
        for line in sys.stdin:
            command, *values = line.split()
            if command == "finish":
                _answer(answers, {"peak_bytes": peak_bytes()})
                return
            if command == "epoch":
                loss, seconds = timed(peer.epoch)
                size = {"steps": peer.steps, "examples": peer.examples}
                _answer(answers, {"seconds": seconds, "loss": float(loss)} | size)
            elif command == "evaluate":
                metrics, seconds = timed(peer.evaluate, int(values[0]))
                examples = {"seconds": seconds, "examples": len(peer.arrays["test_inputs"])}
                _answer(answers, examples | {name: float(value) for name, value in metrics.items()})
            else:
                raise ValueError(f"unknown command {command!r}; expected epoch, evaluate or finish")


def timed(call: Any, *arguments: Any) -> tuple[Any, float]:
    """What the call returns, and the seconds it took."""
    began = time.perf_counter()
    result = call(*arguments)
    return result, time.perf_counter() - began


def peak_bytes() -> int:
    """The most memory that this process has had resident."""
    with contextlib.suppress(OSError):
        # Where Linux keeps it for each program: its ru_maxrss begins at that of the process that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


@contextlib.contextmanager
def _standard_output_kept() -> Iterator[Any]:
    """Standard output for the answers; what libraries print, by Python or not, goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as answers:
            yield answers
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _answer(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
