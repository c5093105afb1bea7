"""What is measured and in which order. All that is compared lives at the same time, and only one of them computes."""

import contextlib
import dataclasses
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arrays import write_arrays
from benchmarks.growth import measure
from benchmarks.limits import MatmulBenchmark, operations_per_step, shares_of_limit
from benchmarks.pairs import mean_and_error, speedup_of, spread_of, throughput
from benchmarks.processes import LAB10, ROOT, Worker, seconds_to_line
from benchmarks.worker import BATCH_SIZE
from lab10.cli.console import console

# How lab10 pads texts: all to one length, as the peers do, or to the longest of a bucket.
VARIANTS: dict[str, dict[str | None, int | None]] = {"imdb_lstm": {"padded": 1, "buckets": 6}}
LEARNING_EPOCHS = {"imdb_lstm": 3, "mnist_pca": 1, "mnist_autoencoder_lab": 1}
# Only these train every seed. The others take as long, and only show that they train the same model.
ALL_SEEDS = (LAB10, "keras-jax")
METRIC = {"imdb_lstm": "accuracy", "mnist_pca": "reconstruction_error", "mnist_autoencoder_lab": "reconstruction_error"}
STARTS = 3
# Threads of the last one to compute spin for a while before they sleep.
PAUSE_SECONDS = 0.3
PARTS = ("speed", "learning", "start_up", "growth")

# Who trains: lab10 or a peer, and lab10's way of padding.
Name = tuple[str, str | None]
# The test metric after each epoch, of the first seed.
Learned = dict[Name, list[float]]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What was asked for.

    Attributes:
      tasks: to measure.
      peers: to measure against.
      pairs: of epochs, and of evaluations, that count.
      seeds: of the comparison of what is learned.
      short: on the samples.
      parts: of `PARTS`.
    """

    tasks: tuple[str, ...]
    peers: tuple[str, ...]
    pairs: int
    seeds: int
    short: bool
    parts: tuple[str, ...] = PARTS


def run(settings: Settings) -> dict[str, Any]:
    """Measures all that was asked for, and returns it as a JSON object."""
    result: dict[str, Any] = {"settings": dataclasses.asdict(settings), "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        prepared = {task: write_arrays(task, settings.short, Path(folder)) for task in settings.tasks}
        paths = {task: path for task, (path, _) in prepared.items()}
        learned: dict[str, Learned] = {}
        if "speed" in settings.parts:
            rate, result["speed"] = MatmulBenchmark(), []
            for task in settings.tasks:
                rows, learned[task] = speed(task, settings.peers, paths[task], settings.pairs, rate)
                result["speed"] += rows
            inputs = {task: arrays["train_inputs"] for task, (_, arrays) in prepared.items()}
            result["limit"] = matmul_utilization(result["speed"], inputs, rate)
        del prepared
        if "learning" in settings.parts:
            result["learning"] = [
                row for task in settings.tasks for row in learning(task, paths[task], settings, learned.get(task, {}))
            ]
        if "start_up" in settings.parts and "keras-jax" in settings.peers:
            path = paths.get("mnist_pca") or write_arrays("mnist_pca", settings.short, Path(folder))[0]
            result["start_up"] = start_up(path, settings.short, Path(folder))
    if "growth" in settings.parts:
        say("growth")
        result["growth"] = measure()
    return result


def variants(task: str) -> dict[str | None, int | None]:
    """lab10's ways of padding in a task, by name, and the buckets of each; the one of None where there is no choice."""
    return VARIANTS.get(task, {None: None})


def speed(
    task: str, peers: Sequence[str], arrays: Path, pairs: int, rate: MatmulBenchmark
) -> tuple[list[dict[str, Any]], Learned]:
    """Epochs and evaluations of lab10 in each variant and of all peers, in turns; the first turn warms up.

    Returns:
      A row for each variant and peer, and what each had learned after each epoch.
    """
    say(f"speed: {task}, lab10 and {', '.join(peers)} in turns")
    with contextlib.ExitStack() as stack:
        workers: dict[Name, Worker] = {}
        built: dict[Name, float] = {}
        ours = [(LAB10, variant, buckets) for variant, buckets in variants(task).items()]
        for name, variant, buckets in ours + [(peer, None, None) for peer in peers]:
            worker = stack.enter_context(Worker.of(name, task, arrays, buckets=buckets))
            built[name, variant] = worker.ready()["first_step_build_seconds"]
            workers[name, variant] = worker
        epochs, evaluations = in_turns(workers, ("epoch", f"evaluate {BATCH_SIZE}"), pairs, rate)
        peaks = {name: worker.ask("finish")["peak_bytes"] for name, worker in workers.items()}
    rows = [
        {
            "task": task,
            "variant": variant,
            "peer": peer,
            "training": compare_throughput(epochs[LAB10, variant], epochs[peer, None]),
            "evaluation": compare_throughput(evaluations[LAB10, variant], evaluations[peer, None]),
            "peak_bytes": {"lab10": peaks[LAB10, variant], "peer": peaks[peer, None]},
            "first_step_build_seconds": {"lab10": built[LAB10, variant], "peer": built[peer, None]},
        }
        for variant in variants(task)
        for peer in peers
    ]
    return rows, {name: [answer[METRIC[task]] for answer in answers] for name, answers in evaluations.items()}


def in_turns(
    workers: dict[Name, Worker], commands: Sequence[str], pairs: int, rate: MatmulBenchmark | None = None
) -> list[dict[Name, list[dict[str, Any]]]]:
    """Asks each worker in turn for one command and then the next, once to warm up and then `pairs` times.

    The machine's rate is measured in between. Returns the answers to each command.
    """
    answers: list[dict[Name, list[dict[str, Any]]]] = [{name: [] for name in workers} for _ in commands]
    for _ in range(pairs + 1):
        for command, of_command in zip(commands, answers, strict=True):
            for name, worker in workers.items():
                of_command[name].append(worker.ask(command))
                time.sleep(PAUSE_SECONDS)
        if rate is not None:
            rate.measure()
            time.sleep(PAUSE_SECONDS)
    return answers


def compare_throughput(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """What lab10 and a peer reached in pairs, the first left out, and the ratio of their seconds."""
    ours, theirs = ours[1:], theirs[1:]
    seconds = {"lab10": [answer["seconds"] for answer in ours], "peer": [answer["seconds"] for answer in theirs]}
    return {
        "lab10": throughput(ours),
        "peer": throughput(theirs),
        "ratio": speedup_of(seconds["lab10"], seconds["peer"]),
        "seconds": seconds,
    }


def matmul_utilization(
    rows: list[dict[str, Any]], train_inputs: dict[str, np.ndarray], rate: MatmulBenchmark
) -> dict[str, Any]:
    """The rate of a matrix product, and for each task and variant which share of it lab10's fastest row reaches."""
    measured = rate.summary()
    quickest: dict[tuple[str, str | None], float] = {}
    for row in rows:
        key = (row["task"], row["variant"])
        seconds = row["training"]["lab10"]["microseconds_per_step"] / 1e6
        quickest[key] = min(seconds, quickest.get(key, seconds))
    shares = []
    for (task, variant), seconds in quickest.items():
        operations = operations_per_step(task, train_inputs[task])
        shares.append(
            {
                "task": task,
                "variant": variant,
                "operations_per_step": operations,
                "operations_per_second": {kind: count / seconds for kind, count in operations.items()},
                "share_of_best": shares_of_limit(operations, seconds, measured["best"]),
                "share_of_median": shares_of_limit(operations, seconds, measured["median"]),
            }
        )
    return {"product": measured, "rows": shares}


def learning(task: str, arrays: Path, settings: Settings, learned: Learned) -> list[dict[str, Any]]:
    """The test metric after each of the same number of epochs, a fresh worker a seed that is not `learned` yet."""
    epochs = LEARNING_EPOCHS[task]
    ours = [(LAB10, variant, buckets) for variant, buckets in variants(task).items()]
    rows = []
    for name, variant, buckets in ours + [(peer, None, None) for peer in settings.peers]:
        by_seed = [learned[name, variant][:epochs]] if len(learned.get((name, variant), [])) >= epochs else []
        for seed in range(len(by_seed), settings.seeds if name in ALL_SEEDS else 1):
            say(f"learning: {task}, {name}{f' ({variant})' if variant else ''}, seed {seed}")
            with Worker.of(name, task, arrays, seed, buckets) as worker:
                worker.ready()
                by_seed.append([])
                for _ in range(epochs):
                    worker.ask("epoch")
                    by_seed[-1].append(worker.ask(f"evaluate {BATCH_SIZE}")[METRIC[task]])
        rows += [
            {"task": task, "name": name, "variant": variant, "metric": METRIC[task], "epochs": epoch}
            | mean_and_error(of_epoch)
            for epoch, of_epoch in enumerate(zip(*by_seed, strict=True), start=1)
        ]
    return rows


def start_up(arrays: Path, short: bool, folder: Path) -> dict[str, Any]:
    """Seconds from the start of a process to its first finished step, in turns; the first of each fills caches."""
    say("start-up: scripts/train.py mnist_pca against a Keras script")
    train = [sys.executable, str(ROOT / "scripts" / "train.py"), "mnist_pca", "--log-every", "1", "--steps", "1"]
    if short:
        train += ["--data.name", "mnist_sample"]
    seconds: dict[str, list[float]] = {LAB10: [], "keras-jax": []}
    for turn in range(STARTS + 1):
        took = {LAB10: seconds_to_line([*train, "--workdir", str(folder / f"start_{turn}")], r"^step\s+1\b")}
        time.sleep(PAUSE_SECONDS)
        with Worker.of("keras-jax", "mnist_pca", arrays) as worker:
            took["keras-jax"] = worker.ready()["seconds"]
        time.sleep(PAUSE_SECONDS)
        if turn:
            for name, value in took.items():
                seconds[name].append(value)
    return {name: spread_of(values) | {"seconds": values} for name, values in seconds.items()}


def machine() -> dict[str, Any]:
    """The processors that this process may use, and the versions that were measured."""
    versions = {"python": platform.python_version()}
    for package in ("jax", "flax", "optax", "keras", "torch", "tensorflow", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processors": processors, "architecture": platform.machine(), "versions": versions}


def say(text: str) -> None:
    """A line of progress."""
    console.print(text, markup=False)
