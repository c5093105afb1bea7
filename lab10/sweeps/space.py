"""The search space of a sweep: fields, each with Optuna's distribution of its values."""

import itertools
import math
import re
import shlex
from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab10.config.errors import UserError

Value = str | float | int
Space = Mapping[str, BaseDistribution]


def parse_vary(text: str) -> tuple[str, BaseDistribution]:
    """Reads `FIELD=A,B,C`, `FIELD=LOW..HIGH` or `FIELD=log:LOW..HIGH`.

    Returns:
      The field as on the command line, without the dashes (`optimizer.learning-rate`), and its distribution: of
      strings for choices, of whole numbers for a range whose two ends are.

    Raises:
      UserError: the text is none of these, or a choice has an unpaired quotation mark.
    """
    field, equals, values = text.partition("=")
    field = field.removeprefix("--").replace("_", "-")
    if not (equals and field and values):
        raise UserError(f"--vary {text}: expected FIELD=A,B,C or FIELD=LOW..HIGH or FIELD=log:LOW..HIGH.")
    if field in ("seed", "workdir"):
        raise UserError(f"--vary {text}: give seeds with --seeds 0 1 2; every run gets a separate workdir.")
    if ".." in values and "/" not in values:  # not paths such as ../runs/a
        return field, _parse_range(text, values)
    choices = [choice.strip() for choice in values.split(",")]
    if "" in choices or len(set(choices)) < len(choices):
        raise UserError(f"--vary {text}: a choice is empty or occurs twice.")
    for choice in choices:
        try:
            shlex.split(choice)
        except ValueError as error:
            raise UserError(
                f"--vary {text}: the choice {choice} cannot be read as a shell would ({error}). Write a quotation mark "
                "or backslash that belongs to the value with a backslash before it."
            ) from error
    return field, CategoricalDistribution(choices)


def _parse_range(text: str, values: str) -> BaseDistribution:
    ends = values.removeprefix("log:").split("..")
    try:
        low, high = (float(end) for end in ends)
        logarithmic = values.startswith("log:")
        if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not logarithmic)):
            raise ValueError
    except ValueError as error:
        raise UserError(
            f"--vary {text}: expected two numbers, the lower one first, above 0 for log:, as in log:1e-4..1e-2."
        ) from error
    if all(re.fullmatch(r"[+-]?\d+", end) for end in ends):
        return IntDistribution(int(ends[0]), int(ends[1]), log=logarithmic)
    return FloatDistribution(low, high, log=logarithmic)


def parse_space(texts: list[str]) -> dict[str, BaseDistribution]:
    """Reads one `--vary` for each field.

    Raises:
      UserError: one of them is malformed, or a field occurs twice.
    """
    space = dict(parse_vary(text) for text in texts)
    if len(space) < len(texts):
        raise UserError("A field is varied twice; give all its values in one --vary.")
    return space


def to_arguments(values: Mapping[str, Value]) -> list[str]:
    """Converts a trial's values to options; a choice of several words gives its option several values."""
    arguments = []
    for field, value in values.items():
        arguments += [f"--{field}", *(shlex.split(value) if isinstance(value, str) else [repr(value)])]
    return arguments


def grid(space: Space) -> list[dict[str, Value]]:
    """Returns every combination of the choices; the last field varies fastest.

    Raises:
      UserError: a field has a range.
    """
    choices = []
    for field, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            raise UserError(f"A grid cannot take the range of {field}; give its values, or --sampler random.")
        choices.append(map(str, distribution.choices))
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*choices)]
