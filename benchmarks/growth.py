"""How the time of a step grows with one setting at a time."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lab10.data.dataset import Spec, Split
from lab10.data.pictures import PictureSpec
from lab10.data.reviews import ReviewSpec
from lab10.models.sentiment import LSTM
from lab10.overrides import load_experiment
from lab10.training.step import Program
from lab10.training.stepper import Stepper

MNIST: Spec = PictureSpec(height=28, width=28, largest=255)

# Task, setting, and the values it takes; the others stay as the experiment has them.
CURVES: list[tuple[str, str, tuple[int, ...]]] = [
    ("imdb_lstm", "length", (50, 100, 200, 400)),
    ("imdb_lstm", "hidden", (16, 32, 64, 128)),
    ("imdb_lstm", "batch_size", (8, 32, 128, 512)),
    ("mnist_pca", "examples", (1_000, 10_000, 60_000)),
]


REPEATS, STEPS = 5, {"imdb_lstm": 16, "mnist_pca": 100}


def time_a_step(task: str, **setting: int) -> float:
    """Median seconds of one training step of lab10, compiled and warm, on random examples.

    Args:
      task: `imdb_lstm` or `mnist_pca`.
      **setting: one of `length` (ids in every review), `hidden`, `batch_size`, `examples` (rows of the dataset).
    """
    experiment, _ = load_experiment(task)
    random = np.random.default_rng(0)
    batch_size, steps = setting.get("batch_size", 32), STEPS[task]
    examples = setting.get("examples", steps * batch_size)
    model, spec, arrays = experiment.model, MNIST, {"inputs": random.integers(0, 256, (examples, 784), np.uint8)}
    if isinstance(model, LSTM):
        model = dataclasses.replace(model, hidden=setting.get("hidden", model.hidden))
        spec = ReviewSpec(num_ids=10_000, class_names=("neg", "pos"))
        ids = random.integers(4, 10_000, (examples, setting.get("length", 250)), np.uint16)
        arrays = {"inputs": ids, "labels": random.integers(0, 2, examples, np.int32)}
    split = Split(np.arange(examples), lambda places, _: {name: array[places] for name, array in arrays.items()})
    experiment = dataclasses.replace(experiment, model=model, batch_size=batch_size, steps_per_dispatch=steps)
    stepper = Stepper(experiment, program := Program(experiment, spec, 1_000), split)
    state, step = program.start(program.init_params()), 0
    seconds = []
    for _ in range(REPEATS + 1):  # the first compiles
        began, before = time.perf_counter(), step
        while step < before + steps:
            state, step = stepper.advance(state, step, before + steps)
        for _ in stepper.reports():
            pass
        seconds.append((time.perf_counter() - began) / steps)
    return statistics.median(seconds[1:])


def measure(
    make_step: Callable[..., float] = time_a_step, settings: list[tuple[str, str, tuple[int, ...]]] = CURVES
) -> list[dict[str, Any]]:
    """Times a step at every value of every setting.

    Args:
      make_step: takes a task and one setting by keyword; returns seconds a step.
      settings: task, name of the setting, values.

    Returns:
      `task`, `setting`, `values` and `microseconds` of each curve.
    """
    return [
        {
            "task": task,
            "setting": name,
            "values": list(values),
            "microseconds": [1e6 * make_step(task, **{name: value}) for value in values],
        }
        for task, name, values in settings
    ]


def growth_rows(curves: list[dict[str, Any]]) -> list[list[str]]:
    """A row a curve: task, setting, and microseconds a step at each value."""
    return [
        [
            curve["task"],
            curve["setting"].replace("_", " "),
            " · ".join(
                f"{value:,}: {time:,.0f}" for value, time in zip(curve["values"], curve["microseconds"], strict=True)
            ),
        ]
        for curve in curves
    ]
