"""Parameters that are not trained, and learning rates that differ between parameters, selected by patterns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from lab10.config.errors import UserError
from lab10.optim.parameter_paths import by_path, matches_any, path_name, require_matches

FREEZE, FACTORS = "--optimizer.freeze", "--optimizer.learning-rate-factors"


def parse_factors(texts: Sequence[str]) -> dict[str, float]:
    """Reads `PATTERN=FACTOR` texts.

    Raises:
      UserError: a text is malformed, or a pattern occurs twice.
    """
    factors: dict[str, float] = {}
    for text in texts:
        pattern, _, factor = text.rpartition("=")
        try:
            value = float(factor)
        except ValueError:
            value = math.nan
        if not pattern or not math.isfinite(value) or value <= 0:
            raise UserError(
                f"{FACTORS} {text!r}: expected PATTERN=FACTOR with a factor above 0, such as 'embedding/*=0.1'. "
                f"For parameters that are not trained, use {FREEZE} PATTERN."
            )
        if pattern in factors:
            raise UserError(f"{FACTORS} gives two factors to {pattern!r}; give one.")
        factors[pattern] = value
    return factors


def frozen_mask(freeze: Sequence[str], params: Any) -> Any:
    """Returns the tree of whether each parameter is frozen.

    Raises:
      UserError: a pattern matches no parameter, or nothing is left to train.
    """
    paths = by_path(params)
    require_matches(FREEZE, freeze, paths)
    if all(matches_any(freeze, path) for path in paths):
        raise UserError(f"{FREEZE} {' '.join(freeze)} freezes every parameter, so nothing would be learned.")
    return jax.tree_util.tree_map_with_path(lambda path, _: matches_any(freeze, path_name(path)), params)


def freeze_parameters(optimizer: optax.GradientTransformation, freeze: Sequence[str]) -> optax.GradientTransformation:
    """Applies an optimizer to the parameters that are not frozen.

    Frozen parameters have an update of 0 and no state, and their gradients do not count for the norm that is clipped.
    """

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda frozen: "frozen" if frozen else "trained", frozen_mask(freeze, params))

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def scale_by_factors(factors: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies each update by the factor of the pattern that matches its parameter, if there is one."""

    def factor(path: Any) -> float:
        name = path_name(path)
        return next((value for pattern, value in factors.items() if matches_any([pattern], name)), 1.0)

    return optax.stateless(
        lambda updates, _: jax.tree_util.tree_map_with_path(lambda path, leaf: factor(path) * leaf, updates)
    )


def require_distinct_factors(factors: Mapping[str, float], freeze: Sequence[str], params: Any) -> None:
    """Checks that every pattern of a factor matches a parameter that is trained, and no parameter has two factors.

    Raises:
      UserError: names the pattern, or the parameter.
    """
    paths = by_path(params)
    require_matches(FACTORS, factors, paths)
    for pattern in factors:
        if all(matches_any(freeze, path) for path in paths if matches_any([pattern], path)):
            raise UserError(f"{FACTORS}: all that {pattern!r} matches is frozen by {FREEZE}; drop one of the two.")
    for path in paths:
        if len(matching := [pattern for pattern in factors if matches_any([pattern], path)]) > 1:
            raise UserError(
                f"{FACTORS}: {' and '.join(map(repr, matching))} both match {path}. Give each parameter one factor."
            )
