"""Lines of metrics without times, which differ between any two runs."""

import json
import re


def without_times(content):
    """The bytes or the text of a metrics.jsonl, without the values whose names say that they are times."""
    pattern, nothing = r', "\w+_per_second": [^,}]+', ""
    if isinstance(content, bytes):
        pattern, nothing = pattern.encode(), b""
    return re.sub(pattern, nothing, content)


def metrics_without_times(workdir):
    """The lines of a workdir's metrics.jsonl, without times."""
    return [json.loads(line) for line in without_times((workdir / "metrics.jsonl").read_text()).splitlines()]
