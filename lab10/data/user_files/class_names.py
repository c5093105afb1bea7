"""Class names, class ids and groups from values of any type."""

import decimal
import math
import re
from collections.abc import Collection, Sequence

import numpy as np

from lab10.config.errors import UserError
from lab10.data.user_files.problems import Invalid

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?")
_MAX_DIGITS = 20  # longer ones are identifiers
_CODE = re.compile(r"[+-]?0\d")


def label_text(value: object, missing: Collection[str]) -> str:
    """Returns a label as text, without white space at its ends.

    Args:
      value: a word, an integer, a float, a boolean or None.
      missing: texts that mean a missing value, besides the empty text.

    Raises:
      Invalid: the value is missing, or cannot be a class.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise Invalid("no label")
    if not isinstance(value, str | int | float | np.generic):
        raise Invalid(f"the label is of type {type(value).__name__}")
    text = str(value).strip()
    if text == "":
        raise Invalid("no label")
    if text in missing:
        raise Invalid(f"the label {text!r} (if it is a class, see --missing)")
    if "\n" in text or "\r" in text:
        raise Invalid("the label has a line break")
    if not is_unicode(text):
        raise Invalid("the label is not valid Unicode")
    return text


def group_text(value: object) -> str:
    """Returns a group as text, without white space at its ends. Equal numbers are equal groups: 7.0 becomes `7`.

    Args:
      value: a word, an identifier that is a number, or None.

    Raises:
      Invalid: the value is missing, or cannot be a group.
    """
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    if value is None:
        raise Invalid("no group")
    if not isinstance(value, str | int | float):
        raise Invalid(f"the group is of type {type(value).__name__}, not a string or a number")
    text = str(value).strip()
    if text == "":
        raise Invalid("no group")
    if not is_unicode(text):
        raise Invalid("the group is not valid Unicode")
    return text


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode a text: not lone surrogates, which JSON and file names may contain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def classes_of(labels: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the class names and the class id of each label, int64.

    If all labels are numbers, equal numbers are one class (`1` and `1.0`), and classes are sorted by number. If all
    are booleans, the classes are `false` and `true`, however they are written. Otherwise each label is a class, and
    classes are sorted by code point. Labels with leading zeros are words.
    """
    distinct = sorted(set(labels))
    if all(_is_number(label) for label in distinct):
        distinct.sort(key=decimal.Decimal)
        names = {label: _number_name(decimal.Decimal(label)) for label in distinct}
    elif all(label.casefold() in ("false", "true") for label in distinct):
        names = {label: label.casefold() for label in sorted(distinct, key=str.casefold)}
    else:
        names = {label: label for label in distinct}
    ids = {name: i for i, name in enumerate(dict.fromkeys(names.values()))}
    return tuple(ids), np.array([ids[names[label]] for label in labels], np.int64)


def _is_number(label: str) -> bool:
    return bool(_NUMBER.fullmatch(label)) and len(label) <= _MAX_DIGITS and not _CODE.match(label)


def _number_name(number: decimal.Decimal) -> str:
    """Returns the plain form of a number: `1` for 1.0, `0.5` for 5e-1."""
    return "0" if number == 0 else f"{number.normalize():f}"


def require_classes(names: Sequence[str], rows: int, column: str) -> None:
    """Raises UserError if the values of a column are not classes: only one, or nearly one for each row."""
    if len(names) == 1:
        raise UserError(
            f"Every row has the label {names[0]!r}; expected at least two classes.\n"
            "Name another column with --label, or leave --label out to prepare texts without labels."
        )
    if len(names) > 2 and 2 * len(names) > rows:
        examples = ", ".join(repr(name[:40]) for name in names[:3])
        raise UserError(
            f"The label column {column!r} has {len(names):,} different values in {rows:,} rows ({examples}, …); "
            "expected a few classes with several rows each.\n"
            "Name the column of the class with --label, or leave --label out to prepare texts without labels."
        )
