"""Compares the training speed of the working tree with that of another git revision.

Internals differ between revisions, so both sides are driven by what they have in common: the command
`scripts/train.py EXPERIMENT …` in a process of its own, and the TensorBoard events that it leaves. The wall time of an
event is taken when a line of metrics is written, after the steps before it have finished on the device, so the time
between two lines holds training steps alone: no imports, no compilation and no evaluation.
"""

import contextlib
import dataclasses
import math
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.driver import machine, say
from benchmarks.processes import ROOT
from benchmarks.report import table
from lab10.cli.arguments import Parser
from lab10.config.errors import RunError, UserError

NOW, BEFORE = "now", "before"
CONFIDENCE = 0.95
# Lines of metrics that do not count: until then each padded length is compiled, and dispatches have grown to full size.
WARM_UP_LINES = 2


@dataclasses.dataclass(frozen=True)
class Workload:
    """A training run to be timed.

    Attributes:
      data: the name of an offline sample.
      batch_size: examples in a step.
      log_every: steps between two lines of metrics; whole epochs, so that lines stand for the same work.
      num_lines: number of lines of metrics in a run.
    """

    data: str
    batch_size: int
    log_every: int
    num_lines: int


# About 3.5 s of steps after the warm-up, on two cores.
TASKS: dict[str, Workload] = {
    "imdb_lstm": Workload("synthetic_reviews", batch_size=32, log_every=225, num_lines=14),
    "mnist_pca": Workload("mnist_sample", batch_size=32, log_every=2260, num_lines=14),
    "mnist_autoencoder": Workload("mnist_sample", batch_size=128, log_every=290, num_lines=14),
}


def run_command(arguments: list[str], description: str | None) -> tuple[dict[str, Any], str]:
    """Compares as the arguments say; returns the result and its Markdown.

    Raises:
      UserError: an argument does not fit, or there is no such revision.
      RunError: a training run failed.
    """
    parser = Parser(description)
    parser.add_argument("--against", required=True, metavar="REVISION", help="branch, tag or commit to compare with")
    parser.add_argument("--pairs", type=int, default=20, metavar="N", help="pairs of runs a task (default: 20)")
    parser.add_argument(
        "--task", nargs="+", choices=tuple(TASKS), default=tuple(TASKS), metavar="NAME", help=", ".join(TASKS)
    )
    args = parser.parse_args(arguments)
    if args.pairs < 2:
        raise UserError(f"--pairs is {args.pairs}; expected at least 2, as one pair has no confidence interval.")
    result = compare(ROOT, args.against, args.pairs, {name: TASKS[name] for name in args.task})
    return result, markdown(result)


def compare(root: Path, revision: str, pairs: int, tasks: Mapping[str, Workload]) -> dict[str, Any]:
    """Times pairs of runs, one of the working tree and one of the revision.

    Args:
      root: the repository's folder.
      revision: whatever git takes for a commit.
      pairs: number of pairs for each task, at least 2.
      tasks: names of experiments that both revisions have, and how to run them.

    Returns:
      A JSON object: `before` and `now` (what was compared), `machine`, and `tasks`, each with its raw pairs in seconds
      a step and with what `summary` makes of them.

    Raises:
      UserError: `root` is not a git checkout, or has no such revision.
      RunError: git cannot check the revision out, or a training run failed.
    """
    commit = commit_of(root, revision)
    now = {"commit": commit_of(root, "HEAD"), "changed": bool(git(root, "status", "--porcelain", "-uno").stdout)}
    # Resolved, because git lists worktrees by their real paths.
    with tempfile.TemporaryDirectory(prefix="against_") as temporary:
        folder = Path(temporary).resolve()
        with worktree(root, commit, folder / "tree"):
            trees = {BEFORE: folder / "tree", NOW: root}
            rows = []
            for task, workload in tasks.items():
                raw = take_turns(trees, task, workload, pairs, folder)
                rows.append({"task": task, **dataclasses.asdict(workload), **summary(raw), "raw_pairs": raw})
    return {
        "before": {"revision": revision, "commit": commit},
        "now": now,
        "machine": machine(),
        "pairs": pairs,
        "tasks": rows,
    }


def take_turns(
    trees: Mapping[str, Path], task: str, workload: Workload, pairs: int, folder: Path
) -> list[dict[str, Any]]:
    """Times pairs of runs in the order AB, BA, AB, …, so that neither side profits from coming second.

    One run of each side goes first and is not counted; it fills that side's cache of compiled programs.

    Returns:
      Each pair as a dictionary: seconds a step `before` and `now`, and which of the two ran `first`.
    """
    order = (BEFORE, NOW)
    say(f"{task}: one run of each side to warm up, then {pairs} pairs")
    for side in order:
        time_a_step(trees[side], task, workload, folder / side)
    raw: list[dict[str, Any]] = []
    for number in range(1, pairs + 1):
        pair = {side: time_a_step(trees[side], task, workload, folder / side) for side in order}
        raw.append({**pair, "first": order[0]})
        say(f"{task}: pair {number}/{pairs}, now/before {pair[NOW] / pair[BEFORE]:.3f}")
        order = order[::-1]
    return raw


def time_a_step(tree: Path, task: str, workload: Workload, folder: Path) -> float:
    """Trains once with the code of a tree, and returns the seconds that a step took after the warm-up.

    Args:
      tree: a checkout of the repository.
      task: the experiment's name.
      workload: how to run it.
      folder: where this tree keeps its caches.

    Raises:
      RunError: training failed, or left too few lines of metrics.
    """
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        # Only options that have been there since the first revision.
        steps = workload.log_every * workload.num_lines
        command = [sys.executable, str(tree / "scripts" / "train.py"), task, "--data.name", workload.data]
        command += ["--batch-size", str(workload.batch_size), "--steps", str(steps), "--seed", "0"]
        command += [
            "--log-every",
            str(workload.log_every),
            "--evaluate-every",
            str(steps),
            "--workdir",
            workdir,
            "--json",
        ]
        environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH")))),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "LAB10_CACHE_DIR": str(folder / "data"),
        }
        done = subprocess.run(
            command, cwd=tree, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-6:])
            raise RunError(f"{task} in {tree} ended with status {done.returncode}:\n{tail}")
        lines = train_loss_times(Path(workdir))[WARM_UP_LINES - 1 :]
    if len(lines) < 2:
        raise RunError(f"{task} in {tree} left fewer than {WARM_UP_LINES + 1} points of train/loss for TensorBoard.")
    (first_step, began), (last_step, ended) = lines[0], lines[-1]
    return (ended - began) / (last_step - first_step)


def train_loss_times(workdir: Path) -> list[tuple[int, float]]:
    """Returns the step and the wall time in seconds of each point of `train/loss` in a run's TensorBoard events."""
    from tensorboardX.proto.event_pb2 import Event

    lines = []
    for path in workdir.rglob("*tfevents*"):
        content, start = path.read_bytes(), 0
        while start < len(content):
            # A TFRecord: length uint64, its checksum uint32, the message, its checksum uint32; little-endian.
            (length,) = struct.unpack_from("<Q", content, start)
            event = Event.FromString(content[start + 12 : start + 12 + length])
            if any(value.tag == "train/loss" for value in event.summary.value):
                lines.append((event.step, event.wall_time))
            start += length + 16
    return sorted(lines)


def summary(raw: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarizes the ratios now/before of the time a step; below 1 the working tree is faster.

    Args:
      raw: at least two pairs with the seconds a step `before` and `now`.

    Returns:
      `pairs` (count), `ratio` (`median`, `lowest` and `highest`), `mean_ratio` (the geometric `mean` of the ratios, and
      `low` and `high`, the ends of its 95 % confidence interval by Student's t of the logarithms), and `seconds_a_step`
      (the medians).
    """
    # SciPy takes as long to import as all else here, and only the end needs it.
    import scipy.stats

    ratios = [pair[NOW] / pair[BEFORE] for pair in raw]
    logs = [math.log(ratio) for ratio in ratios]
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    margin = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * error
    return {
        "pairs": len(ratios),
        "ratio": {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)},
        "mean_ratio": {"mean": math.exp(mean), "low": math.exp(mean - margin), "high": math.exp(mean + margin)},
        "seconds_a_step": {side: statistics.median(pair[side] for pair in raw) for side in (BEFORE, NOW)},
    }


def markdown(result: Mapping[str, Any]) -> str:
    """Formats a comparison as a Markdown table with a sentence on how to read it."""
    before, now = result["before"], result["now"]
    cells = [
        [
            row["task"],
            str(row["pairs"]),
            *(f"{row['seconds_a_step'][side] * 1e6:,.0f}" for side in (BEFORE, NOW)),
            "{median:.3f} ({lowest:.3f} to {highest:.3f})".format(**row["ratio"]),
            "{mean:.3f} ({low:.3f} to {high:.3f})".format(**row["mean_ratio"]),
        ]
        for row in result["tasks"]
    ]
    header = ["task", "pairs", "before, µs a step", "now", "now/before, median (range)", "mean (95 % interval)"]
    changes = " with uncommitted changes" if now["changed"] else ""
    return (
        f"Before: {before['revision']} ({before['commit'][:9]}). Now: the working tree ({now['commit'][:9]}{changes}). "
        "Below 1 the working tree is faster.\n\n" + table(header, cells, numbers=1)
    )


def git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs git in a folder and returns what it said, whatever its exit status.

    Raises:
      UserError: git is not installed.
    """
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("--against needs git, and there is no such command. Install git, or add it to PATH.") from None


def commit_of(root: Path, revision: str) -> str:
    """Returns the full hash of the commit that a revision names.

    Raises:
      UserError: `root` is not a git checkout, or has no such revision.
    """
    top = git(root, "rev-parse", "--show-toplevel")
    # A copy without history may lie inside another project's checkout.
    if top.returncode or Path(top.stdout.strip()).resolve() != root.resolve():
        said = f" (git says: {top.stderr.strip().splitlines()[0]})" if top.stderr.strip() else ""
        raise UserError(
            f"--against {revision}: {root} is not a git checkout{said}.\n"
            "Expected a clone of the repository, which has the other revision. Clone it with git and run this there."
        )
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise UserError(
            f"--against {revision}: {root} has no such revision. Expected a branch, a tag or a commit, as HEAD~1.\n"
            "`git log --oneline --all` lists the commits there are; `git fetch` brings those of the remote repository."
        )
    return found.stdout.strip()


@contextlib.contextmanager
def worktree(root: Path, commit: str, path: Path) -> Iterator[None]:
    """Checks a commit out at a path for as long as the context lasts, and removes it whatever happens.

    Raises:
      RunError: git cannot check it out.
    """
    try:
        added = git(root, "worktree", "add", "--detach", str(path), commit)
        if added.returncode:
            raise RunError(f"git cannot check out {commit} at {path}: {added.stderr.strip()}")
        yield
    finally:
        # Twice: one that was interrupted while it was being added is still locked.
        git(root, "worktree", "remove", "--force", "--force", str(path))
