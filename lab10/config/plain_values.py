"""Plain Python values in a config that was made in Python, where nothing has checked their types."""

import dataclasses
import functools
import os
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from lab10.config.errors import UserError
from lab10.config.fields import option

_TYPES = {int: "a whole number", float: "a number", bool: "True or False", str: "a string", type(None): "None"}


def with_plain_values(config: Any, prefix: str = "") -> Any:
    """Returns an equal config in which NumPy's numbers are Python's, lists are tuples, and paths are strings.

    Args:
      config: an `Experiment` or one of its parts.
      prefix: prefix of its options, for messages.

    Raises:
      UserError: a field has a value of another type; the message names its option.
    """
    cls: Any = type(config)
    hints, changed = _hints(cls), {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            plain = with_plain_values(value, f"{prefix}{field.name}.")
        else:
            try:
                plain = _plain(value, hints.get(field.name, Any))
            except TypeError as error:
                raise UserError(f"{option(prefix + field.name)} is {value!r:.80}; expected {error}.") from error
        if plain is not value:
            changed[field.name] = plain
    return dataclasses.replace(config, **changed) if changed else config


@functools.cache
def _hints(cls: Any) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # a name that exists only while types are checked
        return {}


def _plain(value: Any, hint: Any) -> Any:
    """Returns a value as its type hint has it.

    Raises:
      TypeError: the value is of another type; the message says what is expected.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        expected = []
        for one in options:
            try:
                return _plain(value, one)
            except TypeError as error:
                expected.append(str(error))
        raise TypeError(" or ".join(expected))
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise TypeError(f"one of {', '.join(map(repr, typing.get_args(hint)))}")
        return value
    if typing.get_origin(hint) is tuple:
        return _plain_tuple(value, typing.get_args(hint)[0])
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    numbers = {float: int | float, int: int}
    is_right = hint not in _TYPES or isinstance(value, numbers.get(hint, hint))
    if not is_right or (hint in numbers and isinstance(value, bool)):
        raise TypeError(_TYPES[hint])
    return value


def _plain_tuple(value: Any, item_hint: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list):
        example = {int: "(32,)", str: "('encoder/*',)"}.get(item_hint)
        raise TypeError("a tuple" + (f", such as {example}" if example else ""))
    items = tuple(_plain(item, item_hint) for item in value)
    if isinstance(value, tuple) and all(a is b for a, b in zip(items, value, strict=True)):
        return value
    return items
