"""How the time of a step grows with one setting at a time."""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.step_times import STEPS, load_with_random_data, step_seconds
from lab10.models.text_classifiers import LSTM
from lab10.training.step import StepFunctions

# Task, setting, and the values it takes; the others stay as the experiment has them.
CURVES: list[tuple[str, str, tuple[int, ...]]] = [
    ("imdb_lstm", "length", (50, 100, 200, 400)),
    ("imdb_lstm", "hidden", (16, 32, 64, 128)),
    ("imdb_lstm", "batch_size", (8, 32, 128, 512)),
    ("mnist_pca", "examples", (1_000, 10_000, 60_000)),
]


def time_a_step(task: str, **setting: int) -> float:
    """Median seconds of one training step of lab10, compiled and warm, on random examples.

    Args:
      task: `imdb_lstm` or `mnist_pca`.
      **setting: one of `length` (ids in every text), `hidden`, `batch_size`, `examples` (rows of the dataset).
    """
    batch_size, steps = setting.get("batch_size", 32), STEPS[task]
    experiment, spec, split = load_with_random_data(
        task, setting.get("examples", steps * batch_size), setting.get("length", 250)
    )
    model = experiment.model
    if isinstance(model, LSTM):
        model = dataclasses.replace(model, hidden_size=setting.get("hidden", model.hidden_size))
    experiment = dataclasses.replace(experiment, model=model, batch_size=batch_size, steps_per_execution=steps)
    functions = StepFunctions(experiment, spec, 1_000)
    times = step_seconds(functions, functions.init_state(functions.init_params()), split, steps)
    return statistics.median(times)


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
