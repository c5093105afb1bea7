"""Compares lab10 with Keras and PyTorch on an accelerator: absolute times of training steps, one framework at a time.

Each framework has a process of its own, with a limit of time, for its essential cases (`device_worker.py`), and when
all have had theirs, another one for the other cases. Every measurement is written when it is made, so that it survives
whatever ends the benchmark.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.arrays import write_arrays
from benchmarks.command import make_folder
from benchmarks.driver import machine, say
from benchmarks.pairs import spread_of
from benchmarks.processes import PEERS, ROOT, installed
from benchmarks.report import table
from benchmarks.worker import BATCH_SIZE
from lab10.cli.arguments import Parser
from lab10.config.errors import UserError

TASKS = ("imdb_lstm", "mnist_autoencoder_lab")
FRAMEWORKS = ("lab10", "keras-jax", "torch")
# A process begins no case in its last seconds.
LAST_SECONDS = 12.0


def run_command(arguments: list[str], description: str | None) -> tuple[dict[str, Any], str]:
    """Measures as the arguments say; returns the result and its Markdown."""
    parser = Parser(description)
    parser.add_argument("--device", action="store_true", required=True, help="training steps on JAX's default device")
    parser.add_argument("--short", action="store_true", help="on the offline samples, two steps of each case")
    parser.add_argument("--seconds", type=float, default=600, metavar="S", help="limit of time (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark"), metavar="DIR", help="(%(default)s)")
    args = parser.parse_args(arguments)
    if args.seconds <= LAST_SECONDS:
        raise UserError(f"--seconds is {args.seconds:g}; expected more than {LAST_SECONDS:g}.")
    began = time.monotonic()
    make_folder(args.output)
    result: dict[str, Any] = {"machine": machine() | {"gpu": gpu()}, "short": args.short, "rows": []}
    with tempfile.TemporaryDirectory() as folder, (args.output / "device.jsonl").open("w") as lines:
        for task in TASKS:
            write_arrays(task, args.short, Path(folder))
        for framework, part, end in divide_time(began + args.seconds):
            for row in measure_in_process(framework, part, Path(folder), args.short, end):
                result["rows"].append(row)
                lines.write(json.dumps(row) + "\n")
                lines.flush()
                (args.output / "device.md").write_text(markdown(result))
                say(str(row))
    (args.output / "device.json").write_text(json.dumps(result, indent=1) + "\n")
    return result, markdown(result)


def divide_time(end: float) -> Iterator[tuple[str, str, float]]:
    """Divides the time until `end` among processes: in each round, what is left in equal parts.

    Yields:
      The framework, the part of its cases, and the monotonic time at which the process has to end.
    """
    frameworks = [framework for framework in FRAMEWORKS if framework not in PEERS or installed(framework)]
    for framework in FRAMEWORKS:
        if framework not in frameworks:
            say(f"{framework} is not installed")
    for part in ("essential", "other"):
        for i, framework in enumerate(frameworks):
            now = time.monotonic()
            yield framework, part, now + (end - now) / (len(frameworks) - i)


def measure_in_process(framework: str, part: str, folder: Path, short: bool, end: float) -> Iterator[dict[str, Any]]:
    """What the framework's process measures until the monotonic time `end`, and an error if it failed or was ended."""
    seconds = end - time.monotonic()
    if seconds <= LAST_SECONDS:
        yield {"framework": framework, "error": f"no time left for its {part} cases"}
        return
    command = [sys.executable, str(ROOT / "benchmarks" / "device_worker.py"), framework, part, str(folder)]
    command += ["--seconds", str(seconds - LAST_SECONDS), *(["--short"] if short else [])]
    environment = os.environ | (PEERS[framework][2] if framework in PEERS else {})
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith('{"framework"'):  # libraries may print something, too
                    yield json.loads(line)
            status = process.wait()
        finally:
            limit.cancel()
            process.kill()
        if status:
            errors.seek(0)
            tail = errors.read().strip().splitlines()[-8:]
            yield {"framework": framework, "error": "\n".join([f"ended with status {status}", *tail])}


def gpu() -> str | None:
    """The name and the driver of the first NVIDIA GPU."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    return lines[0] if lines else None


def markdown(result: dict[str, Any]) -> str:
    """The measurements as tables: every row, and the peers' times over lab10's."""
    machine, rows = result["machine"], [row for row in result["rows"] if "seconds_per_step" in row]
    devices = {f"{row['device']}, cuDNN {row['cudnn']}" for row in result["rows"] if "device" in row}
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        f"# Training steps on a device\n\n{machine['gpu'] or 'no NVIDIA GPU'} ({'; '.join(sorted(devices))}); "
        f"{versions}; "
        f"{'offline samples' if result['short'] else 'real data'}, batch size {BATCH_SIZE}. Products are float32 in "
        "the default precision, TF32 on a GPU. A time is the median of the repeats, with the lowest and the highest; "
        "the frameworks ran one after the other. Several runs are on random texts of full length.",
        table(
            ["task", "by", "variant", "hidden", "runs", "µs per step", "range", "examples/s", "steps", "build s"],
            [_cells(row) for row in rows],
            numbers=3,
        ),
    ]
    ratios = _ratios(rows)
    if ratios:
        header = ["task", "hidden", "peer", "peer's µs", "lab10", "lab10's µs", "ratio"]
        parts.append("## The peer's time over lab10's\n\n" + table(header, ratios))
    errors = [row for row in result["rows"] if "error" in row]
    if errors:
        parts.append("## Not measured\n\n" + "\n".join(f"- {_name(row)}: {row['error']}" for row in errors))
    return "\n\n".join(parts) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    spread, members = spread_of(row["seconds_per_step"]), row["members"] or 1
    rate = BATCH_SIZE * members / spread["median"]
    micros = [f"{1e6 * spread[name]:,.0f}" for name in ("median", "lowest", "highest")]
    cells = [f"`{row['task']}`", row["framework"], _variant(row), str(row["hidden"] or "–"), str(members)]
    return [
        *cells,
        micros[0],
        " to ".join(micros[1:]),
        f"{rate:,.0f}",
        str(row["steps"]),
        f"{row['build_seconds']:.1f}",
    ]


def _ratios(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Every peer next to every variant of lab10 of the same task and size."""
    cells = []
    single = [row for row in rows if row["members"] is None]
    for peer in (row for row in single if row["framework"] != "lab10"):
        for ours in (row for row in single if row["framework"] == "lab10"):
            if (ours["task"], ours["hidden"]) == (peer["task"], peer["hidden"]):
                theirs, median = (spread_of(row["seconds_per_step"])["median"] for row in (peer, ours))
                who = [f"`{peer['task']}`", str(peer["hidden"] or "–"), f"{peer['framework']}, {_variant(peer)}"]
                micros = [f"{1e6 * seconds:,.0f}" for seconds in (theirs, median)]
                cells.append([*who, micros[0], _variant(ours), micros[1], f"{theirs / median:.2f}"])
    return cells


def _variant(row: dict[str, Any]) -> str:
    """The variant, and whether Keras did call cuDNN's LSTM."""
    calls = row.get("cudnn_calls_traced", 1)
    return row["variant"] + (" (not called)" if row["variant"] == "cuDNN" and not calls else "")


def _name(row: dict[str, Any]) -> str:
    return ", ".join(str(row[key]) for key in ("framework", "task", "variant", "hidden", "members") if row.get(key))
