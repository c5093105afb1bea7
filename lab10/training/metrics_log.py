"""The metrics of a run, written to metrics.jsonl for programs and as TensorBoard events for people."""

import json
import os
from collections.abc import Mapping

from lab10.cli.console import console
from lab10.config.atomic_write import write_atomically
from lab10.training.event_files import EventWriter, drop_events_after
from lab10.training.example_summaries import Summary
from lab10.training.json_lines import read_metrics
from lab10.training.workdir import Workdir


class MetricsLog:
    """Appends lines to metrics.jsonl and to TensorBoard's events.

    Lines after `step` are removed first, because the run resumes from `step` and writes them again.
    """

    def __init__(self, workdir: Workdir, step: int):
        self._path, self._events_path, self._step = workdir.metrics_path, workdir.tensorboard_path, step
        lines = read_metrics(self._path)
        # Each once, in order, whatever was done to the file.
        kept = {(line["step"], line["split"]): line for line in lines if line["step"] <= step}
        content = "".join(json.dumps(line) + "\n" for line in kept.values()).encode()
        before = self._path.read_bytes() if self._path.exists() else b""
        removed = before[: before.rfind(b"\n") + 1].count(b"\n") - len(lines)  # an incomplete last line is no surprise
        if removed > 0:
            console.print(f"Removed {removed} line(s) that are not lines of metrics from {self._path}.")
        if before != content or not self._path.exists():
            write_atomically(self._path, content)
        drop_events_after(self._events_path, step)
        self._events: EventWriter | None = None
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()

    def write(self, step: int, epoch: float, split: str, metrics: dict[str, float]) -> None:
        """Writes a line of metrics.

        Args:
          step: number of steps taken.
          epoch: number of passes over the train split, with the fraction of the current pass.
          split: `train` or `validation`.
          metrics: means over the steps since the last line (train) or over the split (validation), and the diagnostics
            of the step (train).
        """
        self._file.write(json.dumps({"step": step, "epoch": epoch, "split": split} | metrics) + "\n")
        self._file.flush()
        self.write_events(step, split, metrics)

    def write_events(self, step: int, split: str, values: Mapping[str, float | Summary]) -> None:
        """Writes numbers, images and texts, only as events."""
        if self._events is None:  # created here, so that restarting a finished run adds no file
            self._events = EventWriter(self._events_path, self._step)
        for name, value in values.items():
            self._events.add(f"{split}/{name}", value, step)
        self._events.flush()

    def commit(self) -> None:
        """Flushes all lines, and returns when those of metrics.jsonl would survive a power failure."""
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._events is not None:
            self._events.flush()
