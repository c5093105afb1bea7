"""JSON Lines files, read in the state in which a crash may leave them."""

import json
import math
from pathlib import Path
from typing import Any


def read_json_lines(path: Path, *, skip_invalid: bool = False) -> list[dict[str, Any]]:
    """Reads lines up to the first that is truncated or not a JSON object. A missing file has no lines.

    Args:
      path: path to the file.
      skip_invalid: whether to continue after such a line, in a log whose lines do not depend on each other.
    """
    lines = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            lines.append(value)
        elif not skip_invalid:
            break
    return lines


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a metrics.jsonl up to the first that is truncated or not a line of metrics."""
    lines = []
    for line in read_json_lines(path):
        values = {name: value for name, value in line.items() if name != "split"}
        if not (
            line.get("split") in ("train", "validation")
            and {"step", "epoch"} <= line.keys()
            and isinstance(line["step"], int)
            and all(name.isidentifier() and _is_number(value) for name, value in values.items())
        ):
            break
        lines.append(line)
    return lines


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
