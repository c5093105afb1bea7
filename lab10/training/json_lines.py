"""JSON Lines files, read in the state in which a crash may leave them."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file of JSON objects, one per line, except lines that are truncated or no objects.

    A missing file has no lines.
    """
    lines = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict):
                lines.append(value)
    return lines


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl, except lines that are truncated or no lines of metrics."""
    return [line for line in read_json_lines(path) if _is_line_of_metrics(line)]


def _is_line_of_metrics(line: dict[str, Any]) -> bool:
    values = {name: value for name, value in line.items() if name != "split"}
    return (
        line.get("split") in ("train", "validation")
        and {"step", "epoch"} <= line.keys()
        and isinstance(line["step"], int)
        and all(name.isidentifier() and _is_number(value) for name, value in values.items())
    )


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
