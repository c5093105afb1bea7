"""Measures the cost of training several runs as one program against one alone: `python -m benchmarks.together`."""

import dataclasses

from benchmarks.pairs import speedup_of, spread_of
from benchmarks.step_times import STEPS, load_with_random_data, step_seconds
from lab10.training.ensemble import stack
from lab10.training.step import StepFunctions

TASKS = ("imdb_lstm", "mnist_pca", "mnist_autoencoder")
MEMBERS = (2, 4, 8)
PAIRS = 5


def measure(task: str, members: int) -> str:
    """A row: a step of all members together and of one alone, taken in turns, and what a member gains."""
    experiment, spec, split = load_with_random_data(task, 4096)
    experiment = dataclasses.replace(experiment, batch_size=32)
    rate = experiment.optimizer.learning_rate
    experiments = [
        dataclasses.replace(
            experiment, seed=n, optimizer=dataclasses.replace(experiment.optimizer, learning_rate=rate * (1 + n / 8))
        )
        for n in range(members)
    ]
    functions = [StepFunctions(each, spec, 10_000) for each in experiments]
    alone: list[float] = []
    together: list[float] = []
    for _ in range(PAIRS):
        states = [of_run.init_state(of_run.init_params()) for of_run in functions]
        stacked = stack(experiments, states)
        alone += step_seconds(functions[0], states[0], split, STEPS[task], repeats=1)
        together += step_seconds(functions[0], stacked, split, STEPS[task], repeats=1, num_members=members)
    gain = speedup_of([time / members for time in together], alone)
    medians = [f"{1e6 * spread_of(times)['median']:,.0f}" for times in (alone, together)]
    spread = f"{gain['median']:.2f} ({gain['lowest']:.2f} to {gain['highest']:.2f})"
    return f"| `{task}` | {members} | {' | '.join(medians)} | {spread} |"


if __name__ == "__main__":
    print("| experiment | runs | µs a step, alone | all together | seconds of a run alone over its share together |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for task in TASKS:
        for members in MEMBERS:
            print(measure(task, members), flush=True)
