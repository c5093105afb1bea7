"""Communication between the processes of a run, on top of `jax.experimental.multihost_utils`.

All functions except `is_lead_process` are collective: every process must call them, in the same order. In a run with
a single process, none of them communicates.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from lab10.config.errors import UserError

T = TypeVar("T")


def is_lead_process() -> bool:
    """Returns whether this is process 0, which writes the files that only one process may write."""
    return jax.process_index() == 0


def run_on_all(function: Callable[[], T]) -> T:
    """Calls a function in every process, waits until all calls have returned, and returns this process's result.

    Raises:
      UserError: in every process, if the function raised it in any process.
    """
    if jax.process_count() == 1:
        return function()
    try:
        result, message = function(), ""
    except UserError as error:
        message = str(error)
    raise_on_all(message)
    return result


def run_on_lead(function: Callable[[], object]) -> None:
    """Calls a function in the lead process only; every process waits until it has returned.

    Raises:
      UserError: in every process, if the function raised it.
    """
    run_on_all(function if is_lead_process() else lambda: None)


def raise_on_all(message: str) -> None:
    """Raises an error in every process if any process passes a message; an empty string means no error.

    Raises:
      UserError: in every process, with the message of the first process that has one.
    """
    # Usually no process has a message; this costs one collective of fixed shape, which is compiled once.
    if all_max(len(message)) > 0:
        raise UserError(next(filter(None, gather_strings(message))))


def require_same_on_all(describe: Callable[[], dict[str, Any]]) -> None:
    """Checks that all processes have the same description.

    `multihost_utils.assert_equal` names neither the field nor the process that differs.

    Args:
      describe: returns JSON values by option or other name. Not called in a run with a single process.

    Raises:
      UserError: in every process, with the names whose values differ between process 0 and the first process unlike it.
    """
    if jax.process_count() == 1:
        return
    lead, *others = map(json.loads, gather_strings(json.dumps(describe(), sort_keys=True, default=str)))
    for index, description in enumerate(others, start=1):
        names = sorted(lead.keys() | description.keys())
        differing = [name for name in names if lead.get(name) != description.get(name)]
        if differing:
            values = "; ".join(f"{name} ({lead.get(name)} and {description.get(name)})" for name in differing[:5])
            raise UserError(
                f"Processes 0 and {index} of this run differ in {values}. Expected the same command on every "
                "host, the same data and one shared --workdir.\nTo start separate runs instead, give each "
                "--distributed.detect False and its own --workdir."
            )


def all_max(number: int) -> int:
    """Returns the maximum of the numbers that the processes pass."""
    return number if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int32(number)).max())


def gather_strings(text: str) -> list[str]:
    """Returns the texts that the processes pass, ordered by process index."""
    encoded = text.encode()
    size = max(1, all_max(len(encoded)))  # collectives need arrays of equal, nonzero size
    rows = multihost_utils.process_allgather(np.frombuffer(encoded.ljust(size, b"\0"), np.uint8))
    return [row.tobytes().rstrip(b"\0").decode() for row in rows]
