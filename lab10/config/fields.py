"""Metadata and validation of config fields, and their names on the command line."""

import dataclasses
import math
from typing import Any

from lab10.errors import UserError


def field(default: Any, *, affects_result: bool) -> Any:
    """Declares a config field. A field that does not affect the result may change when a run is resumed."""
    return dataclasses.field(default=default, metadata={"affects_result": affects_result})


def traced_field(default: float | int | None) -> Any:
    """Declares a config field that the compiled step takes as an argument.

    Experiments that differ only in traced fields share one compiled program and can be trained together.
    """
    return dataclasses.field(default=default, metadata={"traced": True})


def is_static_zero(value: Any) -> bool:
    """Returns whether a value is a Python 0, not a traced array; the compiled program then omits the feature."""
    return isinstance(value, int | float) and value == 0


def require_at_least(minimum: int, config: Any, *names: str, prefix: str = "") -> None:
    """Checks that the named fields of a config are finite and at least `minimum`.

    A field may hold a number, a tuple of numbers, or None, which is always valid.

    Raises:
      UserError: a field is out of range; the message names its option.
    """
    for name in names:
        value = getattr(config, name)
        numbers = () if value is None else value if isinstance(value, tuple) else (value,)
        if any((isinstance(number, float) and not math.isfinite(number)) or number < minimum for number in numbers):
            finite = " and finite" if isinstance(value, float) else ""
            raise UserError(f"{option(prefix + name)} is {value}; expected at least {minimum}{finite}.")


def require_at_most(maximum: int, config: Any, *names: str, prefix: str = "") -> None:
    """Checks that the named integer fields of a config, such as array sizes, are at most `maximum`.

    A field may hold a number, a tuple of numbers, or None, which is always valid.

    Raises:
      UserError: a field is out of range; the message names its option.
    """
    for name in names:
        value = getattr(config, name)
        if any(number > maximum for number in (value if isinstance(value, tuple) else (value or 0,))):
            raise UserError(f"{option(prefix + name)} is {str(value)[:50]}; expected at most {maximum}.")


def require_fraction(config: Any, *names: str, prefix: str = "") -> None:
    """Checks that the named fields of a config are in [0, 1).

    Raises:
      UserError: a field is out of range; the message names its option.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise UserError(f"{option(prefix + name)} is {value}; expected at least 0 and below 1.")


def option(path: str) -> str:
    """Returns the command-line option of a field: `batch_size` → `--batch-size`."""
    return "--" + path.replace("_", "-")
