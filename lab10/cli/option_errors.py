"""Error messages for options that do not exist and values that cannot be read, from those of tyro."""

import dataclasses
import difflib
import re
from collections.abc import Collection, Iterator
from typing import Any

from lab10.config.experiment import BASE_CLASSES, Experiment, flatten
from lab10.config.fields import option, walk
from lab10.config.registry import components_of

# What tyro calls the types of values, in words.
VALUE_TYPES = {"INT": "a whole number", "FLOAT": "a number", "{None}": "None", "[INT [INT ...]]": "whole numbers"}


def component_options(config: Any) -> Iterator[tuple[str, type]]:
    """Yields the option of every component of a config, and the component's base class."""
    return ((option(path), field.type) for path, field, _ in walk(config) if field.type in BASE_CLASSES)


def option_error(message: str, arguments: list[str], experiment: Experiment, own: Collection[type]) -> str:
    """Returns a message about an unreadable value or unknown options; that of tyro for any other mistake.

    Args:
      message: tyro's message, in plain lines.
      arguments: what tyro was given.
      experiment: the experiment whose fields the arguments set.
      own: component classes outside lab10.
    """
    if unreadable := re.search(r"Error parsing (--[\w.-]+):", message):
        flag = unreadable[1]
        types = re.search(rf"^{re.escape(flag)} (.+)$", message, re.MULTILINE)
        expected = [VALUE_TYPES.get(name, "") for name in types[1].split("|")] if types else [""]
        if flag in arguments[:-1] and all(expected):
            value = arguments[arguments.index(flag) + 1]
            return f"{flag} is {value!r}; expected {' or '.join(sorted(expected, key='None'.__eq__))}."
    if "Unrecognized options" in message:
        message = message.partition("Arguments similar")[0]
        flags = [argument for argument in arguments if argument.startswith("--")]
        unknown = [flag for flag in flags if re.search(rf"{re.escape(flag)}(?![\w.-])", message)]
        return "\n".join(_unknown_option(flag, experiment, own) for flag in unknown) or message
    return message


def _unknown_option(flag: str, experiment: Experiment, own: Collection[type]) -> str:
    """Says which other components have the option, or which option has a similar name."""
    owners = [
        f"{component} {name.casefold()}"
        for component, base in component_options(experiment)
        if flag.startswith(f"{component}.")
        for name, cls in components_of(base, own).items()
        if flag.removeprefix(f"{component}.").replace("-", "_") in {field.name for field in dataclasses.fields(cls)}
    ]
    if owners:
        return f"There is no option {flag} here; it is one of {', '.join(owners)}."
    options = {
        name.rpartition(".")[2].removeprefix("--"): name for name in map(option, flatten(experiment, all_fields=True))
    }
    similar = difflib.get_close_matches(flag.rpartition(".")[2].removeprefix("--"), options, n=1, cutoff=0.6)
    return f"There is no option {flag}" + (f"; did you mean {options[similar[0]]}?" if similar else ".")
