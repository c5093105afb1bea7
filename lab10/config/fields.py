"""Metadata and validation of config fields, and their names on the command line."""

import dataclasses
import math
import numbers
from collections.abc import Iterator, Sequence
from typing import Any

from lab10.config.errors import UserError


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


def require_at_least(minimum: int, config: Any, *names: str) -> None:
    """Checks that the named fields of a config are finite and at least `minimum`.

    A field may hold a number, a tuple of numbers, or None, which is always valid.

    Raises:
      UserError: a field is out of range; the message names its option.
    """
    for name in names:
        values = _numbers(config, name)
        if any((isinstance(number, float) and not math.isfinite(number)) or number < minimum for number in values):
            finite = " and finite" if isinstance(getattr(config, name), float) else ""
            raise _out_of_range(config, name, f"expected at least {minimum}{finite}")


def require_at_most(maximum: int, config: Any, *names: str) -> None:
    """Checks that the named integer fields of a config are at most `maximum`; otherwise like `require_at_least`."""
    for name in names:
        if any(number > maximum for number in _numbers(config, name)):
            raise _out_of_range(config, name, f"expected at most {maximum}")


def require_between(minimum: int, maximum: int, config: Any, *names: str) -> None:
    """Checks that the named integer fields of a config are in a range; otherwise like `require_at_least`."""
    require_at_least(minimum, config, *names)
    require_at_most(maximum, config, *names)


def require_fraction(config: Any, *names: str, below_1: bool = True) -> None:
    """Checks that the named fields of a config are at least 0 and below 1, or at most 1.

    Raises:
      UserError: a field is out of range; the message names its option.
    """
    for name in names:
        values = _numbers(config, name)
        if len(values) != 1:
            raise _out_of_range(config, name, "expected a number")
        if not (0 <= values[0] < 1 or (values[0] == 1 and not below_1)):
            raise _out_of_range(config, name, f"expected at least 0 and {'below' if below_1 else 'at most'} 1")


def _numbers(config: Any, name: str) -> Sequence[Any]:
    value = getattr(config, name)
    values = () if value is None else value if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(number, numbers.Real) for number in values):
        raise _out_of_range(config, name, "expected a number" if values == (value,) else "expected numbers")
    return values


def _out_of_range(config: Any, name: str, expected: str) -> UserError:
    value = getattr(config, name)
    shown = str(value) if isinstance(value, numbers.Real | tuple) else repr(value)
    return UserError(f"{option(getattr(config, 'option_prefix', '') + name)} is {shown[:50]}; {expected}.")


def option(path: str) -> str:
    """Returns the command-line option of a field: `batch_size` → `--batch-size`."""
    return "--" + path.replace("_", "-")


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Yields the dotted path, the field and the value of every field of a nested config, outer fields before inner."""
    for config_field in dataclasses.fields(config):
        path, value = prefix + config_field.name, getattr(config, config_field.name)
        yield path, config_field, value
        if dataclasses.is_dataclass(value):
            yield from walk(value, path + ".")
