"""What a step costs on virtual devices and in processes of one machine: `python -m benchmarks.scale`.

They share the machine's cores, so none of this is a speed-up: what a step takes beyond that of one device, for the same
batch, is the cost of dividing it.
"""

import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks.pairs import speedup_of, spread_of
from benchmarks.step_times import STEPS, load_with_random_data, step_seconds
from lab10.parallel.distributed import Distributed, connected
from lab10.parallel.mesh import DATA, DeviceMesh
from lab10.training.state import count_parameters
from lab10.training.step import StepFunctions

TASKS = ("imdb_lstm", "mnist_autoencoder", "mnist_deep_autoencoder")
BATCH_SIZE, EXAMPLES = 64, 4096
# Processes, devices of each, whether the optimizer's state is in parts.
LAYOUTS = ((1, 2, False), (1, 8, False), (1, 8, True), (2, 1, False), (4, 1, False), (4, 1, True))
PAIRS = 3
# Float32 of an all-reduce; and how often it is done.
NUMBERS, REPEATS = (1_000, 435_536, 652_513, 2_837_314), 20


def measure(task: str, shard_optimizer: bool, distributed: Distributed) -> dict[str, float]:
    """The median seconds of a step of a task on all devices of all processes, and its parameters."""
    with connected(distributed):
        experiment, spec, split = load_with_random_data(task, EXAMPLES)
        mesh = DeviceMesh(shard_optimizer=shard_optimizer)
        experiment = dataclasses.replace(experiment, batch_size=BATCH_SIZE, mesh=mesh)
        functions = StepFunctions(experiment, spec, 10_000, mesh.build())
        params = functions.init_params()
        parameters = count_parameters(params)
        seconds = step_seconds(functions, functions.init_state(params), split, STEPS[task])
        return {"seconds": statistics.median(seconds), "parameters": parameters}


def measure_all_reduce(distributed: Distributed) -> dict[str, float]:
    """The median seconds until all devices have the sum of `NUMBERS` float32 of each, by how many there are."""
    with connected(distributed):
        mesh = DeviceMesh().build()
        rows, whole = NamedSharding(mesh, PartitionSpec(DATA)), NamedSharding(mesh, PartitionSpec())
        result = {}
        for numbers in NUMBERS:
            ones = jax.jit(lambda size=numbers: jnp.ones((mesh.size, size)), out_shardings=rows)()
            add = jax.jit(lambda x: x.sum(axis=0), out_shardings=whole)
            times = []
            for _ in range(REPEATS):
                began = time.perf_counter()
                jax.block_until_ready(add(ones))
                times.append(time.perf_counter() - began)
            result[str(numbers)] = statistics.median(times[1:])
        return result


def in_processes(what: str, processes: int, devices: int, **settings: Any) -> dict[str, float]:
    """`measure` or `measure_all_reduce` in new processes of virtual devices, as the first of them has it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listening.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    started = []
    for number in range(processes):
        by_hand = {"coordinator_address": address, "num_processes": processes, "process_id": number}
        distributed = by_hand if processes > 1 else {"detect": False}
        command = [sys.executable, "-m", "benchmarks.scale", what, json.dumps(settings), json.dumps(distributed)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    answers = [process.communicate()[0].splitlines()[-1] for process in started]
    return json.loads(answers[0])


def main() -> None:
    print("| experiment | processes × devices | µs a step of one device | µs a step | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    for task in TASKS:
        for processes, devices, shard in LAYOUTS:
            one, several = [], []
            for _ in range(PAIRS):
                one.append(in_processes("step", 1, 1, task=task, shard_optimizer=False)["seconds"])
                of_all = in_processes("step", processes, devices, task=task, shard_optimizer=shard)
                several.append(of_all["seconds"])
            ratio = speedup_of(one, several)
            medians = " | ".join(f"{1e6 * spread_of(times)['median']:,.0f}" for times in (one, several))
            layout = f"{processes} × {devices}" + ", optimizer in parts" * shard
            spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
            print(f"| `{task}` | {layout} | {medians} | {spread} |", flush=True)

    print("\n| processes | " + " | ".join(f"µs to sum {numbers:,}" for numbers in NUMBERS) + " |")
    print("| --- |" + " ---: |" * len(NUMBERS))
    for processes in (2, 4):
        taken = in_processes("all_reduce", processes, 1)
        print(f"| {processes} | {' | '.join(f'{1e6 * seconds:,.0f}' for seconds in taken.values())} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        what, settings, distributed = sys.argv[1], *map(json.loads, sys.argv[2:])
        function = {"step": measure, "all_reduce": measure_all_reduce}[what]
        print(json.dumps(function(**settings, distributed=Distributed(**distributed))))
    else:
        main()
