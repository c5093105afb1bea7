"""What config classes say of their fields: how they are written, what they may hold, whether they define the result."""

import dataclasses
import math
from typing import Any

from lab10.errors import UserError


def field(default: Any, *, affects_result: bool) -> Any:
    """A config field. If it does not affect the result, it may change when a run is resumed."""
    return dataclasses.field(default=default, metadata={"affects_result": affects_result})


def traced_field(default: float | int | None) -> Any:
    """A config field that a compiled program can take as an argument. Runs that differ in such fields alone can be
    trained together."""
    return dataclasses.field(default=default, metadata={"traced": True})


def is_static_zero(value: Any) -> bool:
    """Whether a number is a plain 0, with which the part that it belongs to is left out of the program."""
    return isinstance(value, int | float) and value == 0


def require_at_least(minimum: int, config: Any, *names: str, prefix: str = "") -> None:
    """Checks that fields of a config are finite and at least `minimum`.

    A field may hold a number, a tuple of them, or None, which passes.

    Raises:
      UserError: names the field as it is written on the command line.
    """
    for name in names:
        value = getattr(config, name)
        numbers = () if value is None else value if isinstance(value, tuple) else (value,)
        if any((isinstance(number, float) and not math.isfinite(number)) or number < minimum for number in numbers):
            finite = " and finite" if isinstance(value, float) else ""
            raise UserError(f"{option(prefix + name)} is {value}; expected at least {minimum}{finite}.")


def require_at_most(maximum: int, config: Any, *names: str, prefix: str = "") -> None:
    """Checks that integer fields of a config are at most `maximum`.

    A field may hold a number, a tuple of them, or None, which passes.

    Raises:
      UserError: names the field as it is written on the command line.
    """
    for name in names:
        value = getattr(config, name)
        if any(number > maximum for number in (value if isinstance(value, tuple) else (value or 0,))):
            raise UserError(f"{option(prefix + name)} is {str(value)[:50]}; expected at most {maximum}.")


def require_fraction(config: Any, *names: str, prefix: str = "") -> None:
    """Checks that fields of a config are at least 0 and below 1.

    Raises:
      UserError: names the field as it is written on the command line.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < 1:
            raise UserError(f"{option(prefix + name)} is {value}; expected at least 0 and below 1.")


def option(path: str) -> str:
    """A field's path as it is written on the command line: `batch_size` → `--batch-size`."""
    return "--" + path.replace("_", "-")
