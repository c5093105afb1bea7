"""The sweep: takes points from the queue, trains them in jobs, chooses by validation, reads test once."""

import dataclasses
import datetime
import json
import statistics
import time
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from lab10.cli.console import console
from lab10.cli.script import describe
from lab10.errors import RunError, UserError
from lab10.inspection import load
from lab10.sweeps.jobs import Job, stop
from lab10.sweeps.points import Point, Points, jobs_of
from lab10.sweeps.queue import FAILED, Queue
from lab10.sweeps.space import grid
from lab10.training.json_lines import read_json_lines, read_metrics

POLL_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a sweep goes on, beside what it sweeps.

    Attributes:
      storage: the database's URL.
      name: the study's name in it.
      sampler, pruner: by name.
      points: in all; None for a grid.
      workers: processes at a time.
      together: most runs of one process.
      lost_after: seconds without a sign of life after which a point is taken from its machine.
      test: whether the chosen point is evaluated on the test split.
    """

    storage: str
    name: str
    sampler: str
    pruner: str
    points: int | None
    workers: int
    together: int
    lost_after: int
    test: bool


class Sweep:
    """One process's part of a sweep, to its end.

    Raises:
      UserError: a field or a value is wrong, or the storage holds another sweep.
    """

    def __init__(self, points: Points, settings: Settings):
        self._points, self._settings = points, settings
        combinations = grid(points.varied) if settings.sampler == "grid" else []
        first = points.point(combinations[0]) if combinations else None
        experiment = first.experiments[0] if first else points.default
        if experiment.data.validation_fraction == 0:
            raise UserError("A sweep chooses by validation, and --data.validation-fraction is 0; expected above 0.")
        self._metric = experiment.monitor
        self._higher_is_better = experiment.task.metrics[self._metric]
        # Every combination is made before the first is run: a mistake in the last should not wait for the others.
        made = [(place, points.point(values)) for place, values in enumerate(combinations)]
        in_order = [number for job in jobs_of(made, len(made) * len(points.seeds)) for number in job]
        points.directory.mkdir(parents=True, exist_ok=True)
        self._queue = Queue(
            settings.storage,
            settings.name,
            settings.sampler,
            settings.pruner,
            self._higher_is_better,
            settings.lost_after,
        )
        self._queue.require_same(points.identity(settings.sampler))
        self._queue.fill([combinations[number] for number in in_order])
        self._total = settings.points or len(combinations)
        self._jobs: list[Job] = []
        self._waiting: list[dict[int, Point]] = []
        self._started = 0
        self._began, self._settled_before = time.monotonic(), len(self._queue.settled())

    def run(self) -> dict[str, Any]:
        """Runs what is left of the sweep.

        Returns:
          `workdir`, `points`, `settled` (how many are), `chosen` (its values, workdirs and mean validation
          metric) and `test`, as `scripts/sweep.py --json` prints them.

        Raises:
          RunError: a run could not be saved, or no point could be trained.
        """
        try:
            with Live(console=console, get_renderable=self._table, refresh_per_second=2, transient=True) as live:
                if not console.is_terminal:
                    live.stop()
                while self._advance():
                    time.sleep(POLL_SECONDS)
        finally:
            stop(self._jobs)
            for points in [*(job.points for job in self._jobs), *self._waiting]:
                for number in points:
                    self._queue.give_back(number)
        return self._result()

    def _advance(self) -> bool:
        """Settles what has ended and starts what can be; false when nothing is left, here or elsewhere."""
        for job in [job for job in self._jobs if job.ended]:
            self._settle(job)
        running = [number for job in self._jobs for number in job.points]
        self._queue.beat([*running, *(number for points in self._waiting for number in points)])
        if len(self._jobs) < self._settings.workers and not self._waiting:
            at_most = max(1, self._settings.together // len(self._points.seeds))
            taken = self._queue.take(self._points.varied, at_most, self._settings.points)
            points = {number: self._points.point(values) for number, values in taken}
            self._waiting = [
                {n: points[n] for n in job} for job in jobs_of(list(points.items()), self._settings.together)
            ]
        while self._waiting and len(self._jobs) < self._settings.workers:
            self._start(self._waiting.pop(0))
        return bool(self._jobs or self._queue.unfinished())

    def _start(self, points: dict[int, Point]) -> None:
        for point in points.values():
            for workdir in point.workdirs:
                workdir.parent.mkdir(parents=True, exist_ok=True)
        self._started += 1
        log = self._points.directory / "logs" / f"{min(points)}.log"
        self._jobs.append(Job(points, dataclasses.asdict(self._settings), log))

    def _settle(self, job: Job) -> None:
        answer = job.answer()
        self._jobs.remove(job)
        if "results" in answer:
            best = {result["workdir"]: result["best"] for result in answer["results"]}
            for number, point in job.points.items():
                values = [best[str(workdir)][self._metric] for workdir in point.workdirs]
                self._queue.finish(number, statistics.mean(values), number in answer["pruned"])
                ending = "pruned" if number in answer["pruned"] else f"{self._metric} {_spread(values)}"
                self._say(f"{point.text()}: {ending}")
        elif "diverged" in answer:
            for number, point in list(job.points.items()):
                if answer["diverged"] in map(str, point.workdirs):
                    self._queue.fail(number, answer["error"])
                    self._say(f"{point.text()}: {answer['error']}")
                    del job.points[number]
            if job.points:  # the others go on from their last checkpoint
                self._waiting.insert(0, job.points)
        elif job.process.returncode in (1, 2):
            self._waiting.append(job.points)  # given back by `run`
            raise (UserError if job.process.returncode == 2 else RunError)(answer["error"])
        else:
            for number, point in job.points.items():
                self._queue.fail(number, answer["error"])
                self._say(f"{point.text()}: {answer['error']}")

    def _say(self, text: str) -> None:
        console.print(f"[{len(self._queue.settled())}/{self._total}] {text}{self._left()}", markup=False)

    def _left(self) -> str:
        settled = len(self._queue.settled())
        here = settled - self._settled_before
        if not here or settled >= self._total:
            return ""
        seconds = (time.monotonic() - self._began) / here * (self._total - settled)
        return f"  ({datetime.timedelta(seconds=round(seconds))} left)"

    def _table(self) -> Table:
        """The running points, and how many are settled."""
        settled = len(self._queue.settled())
        table = Table(title=f"{settled} of {self._total} points{self._left()}", title_justify="left")
        for name in ("point", "seed", "step", f"validation {self._metric}"):
            table.add_column(name)
        for job in self._jobs:
            for point in job.points.values():
                for seed, workdir in zip(self._points.seeds, point.workdirs, strict=True):
                    lines = read_metrics(workdir / "metrics.jsonl") if (workdir / "metrics.jsonl").exists() else []
                    measured = [line[self._metric] for line in lines if line["split"] == "validation"]
                    table.add_row(
                        point.text(),
                        str(seed),
                        str(lines[-1]["step"]) if lines else "–",
                        f"{measured[-1]:.4f}" if measured else "–",
                    )
        return table

    def _result(self) -> dict[str, Any]:
        found = self._queue.best()
        failures = [trial.user_attrs[FAILED] for trial in self._queue.settled() if FAILED in trial.user_attrs]
        if found is None:
            said = f" The last of them: {failures[-1]}" if failures else ""
            raise RunError(f"No point of the sweep was trained to its end.{said}")
        values, mean = found
        point = self._points.point(values)
        result: dict[str, Any] = {
            "workdir": str(self._points.directory),
            "points": self._total,
            "settled": len(self._queue.settled()),
            "failed": len(failures),
            "chosen": {
                "values": values,
                "workdirs": [str(workdir) for workdir in point.workdirs],
                "validation": {self._metric: mean},
            },
        }
        if self._settings.test:
            result["test"] = self._test(point)
        (self._points.directory / "result.json").write_text(json.dumps(result, indent=1))
        return result

    def _test(self, point: Point) -> dict[str, Any] | None:
        """The chosen point's figures on the test split, read once: a second call finds them written down."""
        if not all(workdir.is_dir() for workdir in point.workdirs):
            console.print(
                "The chosen point was trained on another machine: run this command there for its test figures."
            )
            return None
        of_runs = [_read_once(workdir) for workdir in point.workdirs]
        names = [name for name, value in of_runs[0].items() if isinstance(value, float)]
        return {
            "mean": {name: statistics.mean(run[name] for run in of_runs) for name in names},
            "of_seeds": {name: [run[name] for run in of_runs] for name in names},
            "examples": of_runs[0]["examples"],
            "readings_of_chosen": sum(map(_readings, point.workdirs)),
            "readings_of_sweep": sum(map(_readings, (self._points.directory / "runs").iterdir())),
        }


def _read_once(workdir: Path) -> dict[str, Any]:
    written = workdir / "evaluations" / "test-1.json"
    run = load(workdir)
    if written.is_file():
        before = dict(json.loads(written.read_text()))
        if before["step"] == run.step:
            return before
    return run.evaluate("test")


def _readings(workdir: Path) -> int:
    log = workdir / "evaluations" / "log.jsonl"
    return sum(line.get("split") == "test" for line in read_json_lines(log)) if log.exists() else 0


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def as_text(result: dict[str, Any]) -> str:
    """A result for people."""
    chosen = result["chosen"]
    values = " ".join(f"--{name} {value}" for name, value in chosen["values"].items())
    text = f"Chosen of {result['settled']} points by validation ({describe(chosen['validation'])}): {values}"
    test = result.get("test")
    if test:
        text += f"\ntest, mean of {len(chosen['workdirs'])} seed(s): {describe(test['mean'])}"
        text += (
            f"\nThis sweep's runs have read test {test['readings_of_sweep']} time(s), "
            f"the chosen point's {test['readings_of_chosen']}."
        )
    return text
