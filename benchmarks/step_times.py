"""Training steps on random examples, timed: what the measurements of one program alone are made of."""

import dataclasses
import time

import numpy as np

from benchmarks.stepper import Stepper
from lab10.cli.overrides import load_experiment
from lab10.config.experiment import Experiment
from lab10.data.dataset import Spec, Split
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.models.text_classifiers import LSTM
from lab10.training.state import TrainState
from lab10.training.step import StepFunctions

MNIST: Spec = ImageSpec(height=28, width=28, pixel_max=255)
NUM_IDS = 10_000
# Of each task at a time: a tenth of a second or so.
STEPS = {"imdb_lstm": 16, "mnist_pca": 100, "mnist_autoencoder": 100, "mnist_deep_autoencoder": 16}
REPEATS = 5


def load_with_random_data(task: str, examples: int, length: int = 250) -> tuple[Experiment, Spec, Split]:
    """An experiment with random examples instead of its dataset.

    Args:
      task: the experiment's name.
      examples: how many.
      length: ids of each text.
    """
    experiment = load_experiment(task)
    random = np.random.default_rng(0)
    if isinstance(experiment.model, LSTM):
        spec: Spec = TextSpec(num_ids=NUM_IDS, class_names=("neg", "pos"))
        ids = random.integers(4, NUM_IDS, (examples, length), np.uint16)
        arrays = {"inputs": ids, "labels": random.integers(0, 2, examples, np.int32)}
    else:
        spec, arrays = MNIST, {"inputs": random.integers(0, 256, (examples, 784), np.uint8)}
    return (
        experiment,
        spec,
        Split(np.arange(examples), lambda indices, _: {n: rows[indices] for n, rows in arrays.items()}),
    )


def step_seconds(
    functions: StepFunctions,
    state: TrainState,
    split: Split,
    steps: int,
    repeats: int = REPEATS,
    num_members: int | None = None,
) -> list[float]:
    """Seconds per step, for several calls of `steps` steps each, compiled and warm.

    Args:
      functions: the functions of the experiment.
      state: the state to start from; that of all members if there are several.
      split: the examples to train on.
      steps: number of steps in a call.
      repeats: number of calls.
      num_members: number of runs trained together; None for a single run.
    """
    experiment = dataclasses.replace(functions.experiment, steps_per_execution=steps)
    stepper = Stepper(dataclasses.replace(functions, experiment=experiment), split, num_members)
    step, seconds = 0, []
    for _ in range(repeats + 1):  # the first compiles
        began, before = time.perf_counter(), step
        while step < before + steps:
            state, step = stepper.advance(state, step, before + steps)
        for _ in stepper.fetch_metrics():
            pass
        seconds.append((time.perf_counter() - began) / steps)
    return seconds[1:]
