"""Files of one JSON object a line, as a crash may leave them."""

import json
import math
from pathlib import Path
from typing import Any


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file up to the first that is torn, or no object; none where there is no file."""
    lines = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        lines.append(value)
    return lines


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl up to the first that is torn or none of metrics."""
    lines = []
    for line in read_json_lines(path):
        numbers = {name: value for name, value in line.items() if name != "split"}
        if not (
            line.get("split") in ("train", "validation")
            and {"step", "epoch"} <= line.keys()
            and isinstance(line["step"], int)
            and all(name.isidentifier() and _is_number(value) for name, value in numbers.items())
        ):
            break
        lines.append(line)
    return lines


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
