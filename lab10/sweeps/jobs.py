"""The processes in which a sweep's runs are trained."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab10.config.experiment import Experiment, to_json
from lab10.sweeps.points import Point


class Job:
    """A process that trains the runs of some points as one program.

    Attributes:
      points: by number.
    """

    def __init__(self, points: dict[int, Point], settings: dict[str, Any], log: Path):
        self.points = points
        runs = [
            {"number": number, "experiment": to_json(experiment, Experiment), "workdir": str(workdir)}
            for number, point in points.items()
            for experiment, workdir in zip(point.experiments, point.workdirs, strict=True)
        ]
        log.parent.mkdir(parents=True, exist_ok=True)
        path = log.with_suffix(".json")
        path.write_text(json.dumps(settings | {"runs": runs}))
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self.log_path = log
        with open(log, "ab") as said:
            root = Path(__file__).resolve().parents[2]
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lab10.sweeps.worker", str(path), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=self._answer,
                stderr=said,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
                start_new_session=True,  # Ctrl-C is for the sweep, which then stops its processes one by one
            )

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def answer(self) -> dict[str, Any]:
        """The object that the process has written; `error` where it was killed before it could."""
        self._answer.seek(0)
        try:
            return dict(json.loads(self._answer.read()))
        except ValueError:
            return {"error": f"its process ended with status {self.process.returncode}; see {self.log_path}"}


def stop(jobs: Sequence[Job]) -> None:
    """Asks the processes to save and end, and waits until they have."""
    for job in jobs:
        if not job.ended:
            job.process.send_signal(signal.SIGTERM)
    for job in jobs:
        job.process.wait()
