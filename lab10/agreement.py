"""What the processes of a run must agree on, and how they do. One process alone agrees with itself at once."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from lab10.errors import UserError

MESSAGE_BYTES = 1024

T = TypeVar("T")


def is_first() -> bool:
    """Whether this is the process that writes what one alone writes."""
    return jax.process_index() == 0


def everywhere(function: Callable[[], T]) -> T:
    """Calls a function in every process, and returns what it returned when it has returned in all.

    Raises:
      UserError: in every process, what it raised in one.
    """
    if jax.process_count() == 1:
        return function()
    try:
        result, problem = function(), ""
    except UserError as error:
        problem = str(error)
    refuse_together(problem)
    return result


def on_first(function: Callable[[], object]) -> None:
    """Calls a function in the first process, and returns when it has returned there.

    Raises:
      UserError: in every process, what it raised.
    """
    everywhere(function if is_first() else lambda: None)


def refuse_together(problem: str) -> None:
    """Goes on where no process has a problem.

    Raises:
      UserError: in every process, the problem of the first that has one.
    """
    if jax.process_count() == 1:
        if problem:
            raise UserError(problem)
        return
    if said := next(filter(None, texts_of_all(problem)), ""):
        raise UserError(said)


def require_same(describe: Callable[[], dict[str, Any]]) -> None:
    """Goes on where all processes find the same.

    Args:
      describe: what this one finds, by option or other name; of JSON's types. Called where there are others.

    Raises:
      UserError: in every process, what differs from what the first process finds, and in which process.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(describe(), sort_keys=True, default=str)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text.encode()))))
    of_first = json.loads(_as_text(multihost_utils.broadcast_one_to_all(_as_bytes(text, size))))
    own = json.loads(text)
    differing = [name for name in sorted(own.keys() | of_first.keys()) if own.get(name) != of_first.get(name)]
    problem = ""
    if differing:
        said = "; ".join(f"{name} ({of_first.get(name)} and {own.get(name)})" for name in differing[:5])
        problem = (
            f"Processes 0 and {jax.process_index()} of this run differ in {said}. Expected the same command on every "
            "host, the same data and one --workdir that all share.\nWhere each is to be a run of its own, give each "
            "--distributed.detect False and a --workdir."
        )
    refuse_together(problem)


def agreed(number: int) -> int:
    """The largest of the numbers of all processes."""
    return number if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int32(number)).max())


def texts_of_all(text: str) -> list[str]:
    """What each process says, by its number, each cut to `MESSAGE_BYTES`."""
    return [_as_text(row) for row in multihost_utils.process_allgather(_as_bytes(text, MESSAGE_BYTES))]


def _as_bytes(text: str, size: int) -> np.ndarray:
    """UTF-8 in an array of fixed size, as the first process's too must have; what is longer is cut."""
    content = np.frombuffer(text.encode()[:size], np.uint8)
    return np.pad(content, (0, size - len(content)))


def _as_text(array: np.ndarray) -> str:
    return bytes(np.asarray(array, np.uint8)).rstrip(b"\0").decode(errors="ignore")
