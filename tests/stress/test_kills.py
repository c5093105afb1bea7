"""Runs of scripts/train.py that are killed at every write, resumed, and end like one that was not killed.

A run is killed, resumed and killed again until it has reached its last step; each life of it is a process
that `faulty.py` ends at a planned operation. `make test` kills each task a few times; `make stress` before every
distinct write that Python makes in a run or in its resumption, in the middle of every write of bytes, and at random
moments, which fall into the writes that C++ makes by itself. LAB10_STRESS_SEED chooses other operations and moments.
"""

import collections
import concurrent.futures
import dataclasses
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import preloaded
import pytest
from metrics_without_times import without_times
from reproducible_outputs import reproducible_outputs, require_same

ROOT = Path(__file__).resolve().parents[2]
FAULTY = ROOT / "tests" / "support" / "faulty.py"
DRAWS_FIGURES = True
SEED = int(os.environ.get("LAB10_STRESS_SEED", "0"))
# At these learning rates the best checkpoint is none of the latest two, and a bit that differs soon is a number.
TASKS = {
    "images": (
        *("mnist_autoencoder_lab", "--data.name", "mnist_sample", "--data.transform", "gaussiannoise"),
        *("--optimizer.learning-rate", 0.02),
    ),
    "texts": (
        *("imdb_lstm", "--data.name", "synthetic_reviews", "--data.max-length", 32),
        *("--optimizer.learning-rate", 0.3),
    ),
}
STEPS = 120  # more than an epoch
# Lines, evaluations and further checkpoints meet at no step but the last.
CADENCE = ("--steps", STEPS, "--batch-size", 64, "--evaluate-every", 40, "--checkpoint-every", 11, "--log-every", 7)
KILLS = 50
COMMIT = "fsync metrics.jsonl"  # a checkpoint's arrays are written from here on

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="faulty.py asks /proc for paths")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where a process is killed; `faulty.py` explains the fields."""

    kind: str
    at: int | tuple[str, int]
    do: str = "kill"
    torn: bool = False
    delay: float | None = None


@dataclasses.dataclass(frozen=True)
class Life:
    """One process: its exit status, the writes it announced, what it answered on standard output and error."""

    status: int
    writes: list[str]
    answer: str
    said: str


def live(task, workdir, plan=None):
    """Trains in a workdir to the end, or to where the plan ends it."""
    log = workdir.with_suffix(".writes")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    fault = {"root": str(workdir), "log": str(log)}
    if plan is not None:
        fault |= {"at": plan.at, "do": plan.do, "torn": plan.torn, "delay": plan.delay}
    environment = os.environ | {
        "LAB10_FAULT": json.dumps(fault),
        # Not the user's, which a kill might leave with a torn file; as the product sets it otherwise.
        "JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "compiled"),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    script = [str(ROOT / "scripts" / "train.py"), *map(str, (*TASKS[task], *CADENCE)), "--workdir", str(workdir)]
    done = preloaded.run([sys.executable, str(FAULTY), *script, "--json"], cwd=ROOT, env=environment, text=True)
    writes = log.read_text().splitlines() if log.exists() else []
    return Life(done.returncode, writes, done.stdout, done.stderr)


def finished(task, workdir):
    """A life that reaches the end."""
    life = live(task, workdir)
    assert life.status == 0, life.said
    return life


class Campaign:
    """Kills runs of one task at planned operations until the plans are used up, and lets the last run end.

    Attributes:
      ended: each workdir that reached its last step, and what its last process answered.
      kills: how many lives ended by SIGKILL, by the plan's kind.
      stops: how many ended by another signal, by its name.
      killed_before: the names of the writes that a kill came right before.
      seen: the names of all writes announced.
    """

    def __init__(self, task, folder, lines, seed):
        self._task, self._folder, self._lines = task, folder, lines
        self._random = random.Random(seed)
        self._count = 0
        self.ended, self.kills, self.stops = {}, collections.Counter(), collections.Counter()
        self.killed_before, self.seen = set(), set()

    def run(self, chains):
        """Uses chains of plans in their order; one that a run ended within is tried again, whole, on the next runs."""
        chains, retries = collections.deque(chains), collections.Counter()
        workdir = self._new_workdir()
        while chains:
            chain = chains.popleft()
            for plan in chain:
                life = live(self._task, workdir, plan)
                self.seen.update(life.writes)
                if life.status == 0:
                    self.ended[workdir] = life.answer
                    workdir = self._new_workdir()
                    retries[chain] += 1
                    if retries[chain] <= 5:
                        chains.append(chain)
                    break
                self._note(plan, life)
                self._require_lines_before_checkpoint(workdir)
        last = finished(self._task, workdir)
        self.seen.update(last.writes)
        self.ended[workdir] = last.answer

    def _note(self, plan, life):
        if plan.do == "kill":
            assert life.status == -signal.SIGKILL, life.said
            self.kills[plan.kind] += 1
            if plan.delay is None:
                self.killed_before.add(life.writes[-1])
        else:
            assert life.status == 128 + signal.Signals[plan.do], life.said
            self.stops[plan.do] += 1

    def _require_lines_before_checkpoint(self, workdir):
        """A checkpoint may only be there if every line up to its step is."""
        saved = [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()]
        expected = b"".join(line for line in self._lines if json.loads(line)["step"] <= max(saved, default=0))
        found = without_times((workdir / "metrics.jsonl").read_bytes()) if expected else b""
        assert found.startswith(expected), f"{workdir}: a checkpoint of step {max(saved)} without its lines"

    def _new_workdir(self):
        self._count += 1
        return self._folder / f"run_{self._count}"


def require_every_line_once(whole):
    """The files of a run that was never killed have every line once; so do files that equal them."""
    lines = [json.loads(line) for line in whole["metrics.jsonl"].splitlines()]
    due = [("train", step) for step in range(1, STEPS + 1) if step % 7 == 0 or step == STEPS]
    due += [("validation", step) for step in range(40, STEPS + 1, 40)]
    assert sorted((line["split"], line["step"]) for line in lines) == sorted(due)
    points = [
        (f"{line['split']}/{tag}", line["step"])
        for line in lines
        for tag in line
        if tag not in ("split", "step", "epoch")
    ]
    events = [(tag, step) for tag, step, _ in whole["events"]]
    examples = [event for event in events if event[0].startswith(("validation/examples", "validation/predictions"))]
    assert [event for event in events if event not in examples] == points
    assert sorted(step for _, step in examples) == [step for split, step in due if split == "validation"]
    assert len(set(points)) == len(points)


def commit_of(writes):
    """The write by which a checkpoint appears."""
    (name,) = {name for name in writes if name.startswith("rename checkpoints/N") and name.endswith("> checkpoints/N")}
    return name


@pytest.mark.parametrize("task", ["images", pytest.param("texts", marks=pytest.mark.slow)])
def test_a_run_killed_a_few_times_ends_with_the_same_bits(task, tmp_path):
    draw = random.Random(SEED)
    whole = finished(task, tmp_path / "whole")
    expected = reproducible_outputs(tmp_path / "whole", whole.answer)
    require_every_line_once(expected)
    campaign = Campaign(task, tmp_path, expected["metrics.jsonl"].splitlines(keepends=True), SEED)
    plans = [
        Plan("before a write", ("rename .config.json.partial > config.json", 1)),
        Plan("in a line", ("write metrics.jsonl", draw.randint(5, 9)), torn=True),
        Plan("before a write", ("rename .metrics.jsonl.partial > metrics.jsonl", 1)),
        Plan("before a write", (commit_of(whole.writes), draw.randint(2, 4))),
        Plan("in a checkpoint", (COMMIT, draw.randint(2, 4)), delay=draw.uniform(0.001, 0.04)),
    ]
    campaign.run([(plan,) for plan in plans])
    assert sum(campaign.kills.values()) == 5, campaign.kills
    (ended,) = campaign.ended.items()
    require_same(expected, reproducible_outputs(*ended), ended[0])


def in_parallel(calls):
    """Makes the calls at once, on as many processes as there are cores to train on, and returns their results."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(*call) for call in calls]]


def first_indices(names):
    return {name: i for i, name in reversed(list(enumerate(names)))}


def chains_for(fresh, resumed, seconds, draw):
    """Chains of plans that kill before every distinct write, in every write of bytes, and at random moments.

    Args:
      fresh: the writes of a run that was never killed.
      resumed: the writes of a process that resumes a run that was killed while it saved.
      seconds: how long a whole run takes.
      draw: the source of randomness.

    Returns:
      The chains for two campaigns.
    """
    commit = commit_of(fresh)
    index_fresh, index_resumed = first_indices(fresh), first_indices(resumed)
    last_commit = max(i for i, name in enumerate(resumed) if name == commit)
    only_fresh = [name for name in index_fresh if name not in index_resumed]
    at_the_end = [name for name, i in index_resumed.items() if i > last_commit]
    between = [name for name, i in index_resumed.items() if i <= last_commit]

    def kills(name, most=1):
        at = (name, draw.randint(1, most))
        # What only a resumption writes, it writes after a kill in a later checkpoint.
        before = () if name in index_fresh else (Plan("before a named write", (commit, 2)),)
        yield (*before, Plan("before a named write", at))
        if name.startswith("write "):
            yield (*before, Plan("in the middle of a write", at, torn=True))

    # What only a new run writes is there to be killed at once a workdir, what comes last only when all else is over.
    start = [chain for name in sorted(only_fresh, key=index_fresh.get) for chain in kills(name)]
    # A later one of the same name, where a life has several: it leaves more behind.
    middle = [chain for name in between for chain in kills(name, min(2, resumed.count(name)))]
    end = [chain for name in sorted(at_the_end, key=index_resumed.get) for chain in kills(name)]
    moments = [Plan("in a checkpoint", (COMMIT, draw.randint(1, 3)), delay=draw.uniform(0, 0.06)) for _ in range(15)]
    moments += [Plan("at a random moment", 0, delay=draw.uniform(0.3, 1) * seconds) for _ in range(10)]
    moments += [Plan("stop", (COMMIT, draw.randint(1, 3)), do=name) for name in ("SIGTERM", "SIGINT") * 2]
    middle += [(plan,) for plan in moments]
    draw.shuffle(middle)
    half = len(middle) // 2
    return start + middle[:half], middle[half:] + end


@pytest.mark.stress
@pytest.mark.parametrize("task", TASKS)
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(task, tmp_path, capsys):
    began, draw = time.monotonic(), random.Random(f"{SEED} {task}")
    fresh = finished(task, tmp_path / "compiles_first")
    before = time.monotonic()
    again = finished(task, tmp_path / "whole")
    seconds = time.monotonic() - before
    expected = reproducible_outputs(tmp_path / "whole", again.answer)
    require_every_line_once(expected)
    require_same(expected, reproducible_outputs(tmp_path / "compiles_first", fresh.answer), "a second whole run")

    killed = live(task, tmp_path / "once", Plan("to see what a resumption writes", (commit_of(fresh.writes), 4)))
    assert killed.status == -signal.SIGKILL, killed.said
    resumed = finished(task, tmp_path / "once")
    named = {*fresh.writes, *resumed.writes}

    lines = expected["metrics.jsonl"].splitlines(keepends=True)
    campaigns = [Campaign(task, tmp_path / f"campaign_{i}", lines, SEED) for i in range(2)]
    chains = chains_for(fresh.writes, resumed.writes, seconds, draw)
    in_parallel([(campaign.run, planned) for campaign, planned in zip(campaigns, chains, strict=True)])

    kills, stops = (
        sum((getattr(one, what) for one in campaigns), collections.Counter()) for what in ("kills", "stops")
    )
    killed_before = set().union(*(campaign.killed_before for campaign in campaigns))
    seen = set().union(*(campaign.seen for campaign in campaigns))
    ended = {workdir: answer for campaign in campaigns for workdir, answer in campaign.ended.items()}
    with capsys.disabled():
        print(
            f"\n{task}, seed {SEED}: {sum(kills.values())} kills ({dict(kills)}) and {dict(stops)} "
            f"over {len(ended)} runs; "
            f"{len(killed_before & named)} of {len(named)} named writes killed at, "
            f"{len(killed_before & seen)} of all {len(seen)} ever seen; {time.monotonic() - began:.0f} s"
        )
    for workdir, answer in ended.items():
        require_same(expected, reproducible_outputs(workdir, answer), workdir)
    assert named <= killed_before, named - killed_before
    assert sum(kills.values()) >= KILLS
