"""Finds the features of a TFDS dataset that hold its inputs and its labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab10.config.errors import UserError


def choose_feature(
    dataset: str,
    features: Mapping[str, Any],
    kind: str,
    option: str,
    requested: str | None,
    candidates: Sequence[str],
    preferred: str,
) -> str:
    """Returns the name of the feature to read.

    Args:
      dataset: name of the dataset, for messages.
      features: the features of an example.
      kind: kind of the feature, for messages, such as `text`.
      option: the option that names it.
      requested: the value of the option; None: `preferred` if it is a candidate, else the only candidate.
      candidates: the features of that kind.
      preferred: the usual name of the feature.

    Raises:
      UserError: there is no such feature, or several.
    """
    name = requested or (preferred if preferred in candidates or len(candidates) != 1 else candidates[0])
    if name in candidates:
        return name
    if requested is None and candidates:
        raise UserError(f"{dataset} has several {kind} features: {', '.join(candidates)}. Choose one with {option}.")
    if requested is None or requested not in features:
        missing = f"feature {requested!r}" if requested else f"{kind} feature"
        raise UserError(
            f"{dataset} has no {missing}; its features are {describe_features(features)}.\n"
            + (
                f"Choose a feature with {option}, or another dataset with --data.name."
                if candidates or requested
                else f"Choose another dataset with --data.name, or an experiment that does not read {kind}s."
            )
        )
    others = f" Its {kind} features are {', '.join(candidates)}." if candidates else ""
    raise UserError(f"The feature {name!r} of {dataset} is {describe_type(features[name])}; expected {kind}.{others}")


def describe_features(features: Mapping[str, Any]) -> str:
    """Returns the features of a dataset as `image (Image of uint8), label (ClassLabel)`."""
    shown = [f"{name} ({describe_type(feature)})" for name, feature in sorted(features.items())]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def describe_type(feature: Any) -> str:
    """Returns the type of a feature, with its dtype if it has one."""
    name = type(feature).__name__
    dtype = getattr(feature, "np_dtype", None)
    return f"{name} of {dtype.__name__ if isinstance(dtype, type) else dtype}" if name in ("Tensor", "Image") else name
