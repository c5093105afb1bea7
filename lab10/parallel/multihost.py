"""What the processes of a run tell each other, on top of `jax.experimental.multihost_utils`.

All functions but `is_lead_process` are collective: every process calls them, in the same order. In a run of one
process they involve no communication.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from lab10.errors import UserError

T = TypeVar("T")


def is_lead_process() -> bool:
    """Whether this is the process that writes the files that only one process may write."""
    return jax.process_index() == 0


def run_on_all(function: Callable[[], T]) -> T:
    """Calls a function in every process, waits until it has returned in all of them, and returns its result here.

    Raises:
      UserError: in every process, if the function raised it in any.
    """
    if jax.process_count() == 1:
        return function()
    try:
        result, problem = function(), ""
    except UserError as error:
        problem = str(error)
    raise_on_all(problem)
    return result


def run_on_lead(function: Callable[[], object]) -> None:
    """Calls a function in the lead process only; every process waits until it has returned.

    Raises:
      UserError: in every process, if the function raised it.
    """
    run_on_all(function if is_lead_process() else lambda: None)


def raise_on_all(problem: str) -> None:
    """Raises in every process if any has a problem; an empty string means that there is none.

    Raises:
      UserError: in every process, with the problem of the first process that has one.
    """
    # The usual answer, none, costs one collective of fixed shape, which is compiled once.
    if all_max(len(problem)) > 0:
        raise UserError(next(filter(None, gather_texts(problem))))


def require_same_on_all(describe: Callable[[], dict[str, Any]]) -> None:
    """Raises in every process unless all of them give the same description.

    `multihost_utils.assert_equal` would say neither which field differs nor in which process.

    Args:
      describe: returns JSON values by option or other name. Not called in a run of one process.

    Raises:
      UserError: in every process, with the names that differ in the first process that differs from process 0.
    """
    if jax.process_count() == 1:
        return
    lead, *others = map(json.loads, gather_texts(json.dumps(describe(), sort_keys=True, default=str)))
    for number, other in enumerate(others, start=1):
        differing = [name for name in sorted(lead.keys() | other.keys()) if lead.get(name) != other.get(name)]
        if differing:
            values = "; ".join(f"{name} ({lead.get(name)} and {other.get(name)})" for name in differing[:5])
            raise UserError(
                f"Processes 0 and {number} of this run differ in {values}. Expected the same command on every "
                "host, the same data and one --workdir that all share.\nIf each is meant to be a run of its own, give "
                "each --distributed.detect False and its own --workdir."
            )


def all_max(number: int) -> int:
    """Returns the largest of the numbers given by all processes."""
    return number if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int32(number)).max())


def gather_texts(text: str) -> list[str]:
    """Returns the texts given by all processes, ordered by process index."""
    encoded = text.encode()
    size = max(1, all_max(len(encoded)))  # collectives need arrays of one shape, and not an empty one
    rows = multihost_utils.process_allgather(np.frombuffer(encoded.ljust(size, b"\0"), np.uint8))
    return [row.tobytes().rstrip(b"\0").decode() for row in rows]
