"""What a sweep varies: fields, each with its choices or its range."""

import dataclasses
import itertools
import math
import re
import shlex
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab10.errors import UserError

Value = str | float | int


@dataclasses.dataclass(frozen=True)
class Varied:
    """A field and what it may be.

    Attributes:
      field: as on the command line, without the dashes: `optimizer.learning-rate`.
      distribution: Optuna's; of strings where there are choices.
    """

    field: str
    distribution: BaseDistribution

    def arguments(self, value: Value) -> list[str]:
        """The option that gives the field the value; one of several words gives it several."""
        return [f"--{self.field}", *(shlex.split(value) if isinstance(value, str) else [repr(value)])]

    def suggest(self, trial: optuna.Trial) -> Value:
        """The value that a sampler draws, or that was put into the queue."""
        one = self.distribution
        if isinstance(one, FloatDistribution):
            return trial.suggest_float(self.field, one.low, one.high, log=one.log)
        if isinstance(one, IntDistribution):
            return trial.suggest_int(self.field, one.low, one.high, log=one.log)
        assert isinstance(one, CategoricalDistribution)
        return trial.suggest_categorical(self.field, one.choices)  # type: ignore[return-value]


def parse_varied(text: str) -> Varied:
    """`FIELD=A,B,C`, `FIELD=LOW..HIGH` or `FIELD=log:LOW..HIGH`; whole numbers where both ends are.

    Raises:
      UserError: it is none of these.
    """
    field, equals, values = text.partition("=")
    field = field.removeprefix("--").replace("_", "-")
    if not (equals and field and values):
        raise UserError(f"--vary {text}: expected FIELD=A,B,C or FIELD=LOW..HIGH or FIELD=log:LOW..HIGH.")
    if field in ("seed", "workdir"):
        raise UserError(f"--vary {text}: seeds are given by --seeds 0 1 2, and every run has a workdir of its own.")
    if ".." in values:
        return Varied(field, _parse_range(text, values))
    choices = [choice.strip() for choice in values.split(",")]
    if "" in choices or len(set(choices)) < len(choices):
        raise UserError(f"--vary {text}: one of the choices is empty or there twice.")
    return Varied(field, CategoricalDistribution(choices))


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


def grid(varied: Sequence[Varied]) -> list[dict[str, Value]]:
    """Every combination of the choices, the last field the fastest.

    Raises:
      UserError: a field has a range.
    """
    for one in varied:
        if not isinstance(one.distribution, CategoricalDistribution):
            raise UserError(f"A grid cannot take the range of {one.field}; give its values, or --sampler random.")
    choices = [one.distribution.choices for one in varied]  # type: ignore[attr-defined]
    return [dict(zip((one.field for one in varied), values, strict=True)) for values in itertools.product(*choices)]
