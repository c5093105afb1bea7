"""The log of a run's evaluations: evaluations/log.jsonl in its workdir, one JSON object per evaluation."""

import fcntl
import json
import time
from pathlib import Path
from typing import Any

from lab10.cli.console import console
from lab10.training.json_lines import read_json_lines


def read_evaluations(workdir: Path, split: str) -> list[dict[str, Any]]:
    """Reads the results of all evaluations of a split in a workdir, the oldest first."""
    return [line for line in read_json_lines(_log(workdir)) if line.get("split") == split]


def record_evaluation(workdir: Path, result: dict[str, Any]) -> int:
    """Records an evaluation, and returns how often its split has been evaluated so far, including this time.

    Warns if the same split had other examples when it was evaluated before, as `content_sha256` tells.

    Args:
      workdir: path to the folder of the run.
      result: the result of `Run.evaluate`.

    Raises:
      OSError: the folder cannot be written.
    """
    path = _log(workdir)
    path.parent.mkdir(exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        earlier = read_evaluations(workdir, result["split"])
        content = path.read_bytes()
        is_truncated = bool(content) and not content.endswith(b"\n")  # by a crash during the last write
        entry = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **result}
        file.write("\n" * is_truncated + json.dumps(entry) + "\n")
    _warn_of_changed_examples(earlier, result)
    return len(earlier) + 1


def _warn_of_changed_examples(earlier: list[dict[str, Any]], result: dict[str, Any]) -> None:
    names = ("tfds_split", "content_sha256")
    known = [entry for entry in earlier if all(entry.get(name) for name in names)]
    if not known or not result.get("content_sha256"):
        return
    (tfds_split, content), last = (result[name] for name in names), known[-1]
    if last["tfds_split"] == tfds_split and last["content_sha256"] != content:
        console.print(
            f"Warning: the examples of {result['split']} have changed since the evaluation at {last.get('time')}. "
            "Do not compare the two results.",
        )


def _log(workdir: Path) -> Path:
    return workdir / "evaluations" / "log.jsonl"
