"""A dataset's spec as JSON, so that a run can be inspected where the dataset is not."""

import dataclasses
from typing import Any

from lab10.data.dataset import Spec
from lab10.data.pictures import PictureSpec
from lab10.data.reviews import ReviewSpec
from lab10.errors import UserError

SPECS: dict[str, type[Spec]] = {PictureSpec.kind: PictureSpec, ReviewSpec.kind: ReviewSpec}


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """The spec as JSON's types, its kind beside its fields."""
    return {"kind": spec.kind} | dataclasses.asdict(spec)  # type: ignore[call-overload]


def spec_from_json(value: Any) -> Spec:
    """The inverse of `spec_to_json`.

    Raises:
      UserError: the kind or the fields are not those of this version.
    """
    try:
        fields = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items() if key != "kind"}
        return SPECS[value["kind"]](**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"config.json describes a dataset that this version of lab10 cannot read ({error}).") from error
