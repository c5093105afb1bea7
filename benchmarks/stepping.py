"""Training steps on random examples, timed: what the measurements of one program alone are made of."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from lab10.config import Experiment
from lab10.data.dataset import Spec, Split
from lab10.data.pictures import PictureSpec
from lab10.data.reviews import ReviewSpec
from lab10.models.sentiment import LSTM
from lab10.overrides import load_experiment
from lab10.training.state import TrainState
from lab10.training.step import Program
from lab10.training.stepper import Stepper

MNIST: Spec = PictureSpec(height=28, width=28, largest=255)
NUM_IDS = 10_000
# Of each task at a time: a tenth of a second or so.
STEPS = {"imdb_lstm": 16, "mnist_pca": 100, "mnist_autoencoder": 100, "mnist_deep_autoencoder": 16}
REPEATS = 5


def stand_in(task: str, examples: int, length: int = 250) -> tuple[Experiment, Spec, Split]:
    """An experiment with random examples in place of its dataset.

    Args:
      task: the experiment's name.
      examples: how many.
      length: ids of each review.
    """
    experiment, _ = load_experiment(task)
    random = np.random.default_rng(0)
    if isinstance(experiment.model, LSTM):
        spec: Spec = ReviewSpec(num_ids=NUM_IDS, class_names=("neg", "pos"))
        ids = random.integers(4, NUM_IDS, (examples, length), np.uint16)
        arrays = {"inputs": ids, "labels": random.integers(0, 2, examples, np.int32)}
    else:
        spec, arrays = MNIST, {"inputs": random.integers(0, 256, (examples, 784), np.uint8)}
    return (
        experiment,
        spec,
        Split(np.arange(examples), lambda places, _: {n: rows[places] for n, rows in arrays.items()}),
    )


def step_seconds(
    program: Program,
    states: Sequence[TrainState],
    experiment: Experiment,
    split: Split,
    steps: int,
    repeats: int = REPEATS,
) -> list[float]:
    """Seconds of a step, of so many dispatches of `steps` steps each, compiled and warm.

    Args:
      program: a `Program`, or an `Ensemble` of several runs.
      states: of its runs.
      experiment: the runs', for the order of examples.
      split: what they train on.
      steps: of one dispatch.
      repeats: how many dispatches.
    """
    stepper = Stepper(dataclasses.replace(experiment, steps_per_dispatch=steps), program, split)
    state, step, seconds = program.join(states), 0, []
    for _ in range(repeats + 1):  # the first compiles
        began, before = time.perf_counter(), step
        while step < before + steps:
            state, step = stepper.advance(state, step, before + steps)
        for _ in stepper.reports():
            pass
        seconds.append((time.perf_counter() - began) / steps)
    return seconds[1:]
