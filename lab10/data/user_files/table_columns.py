"""The columns of a table that a user asks for, and what a row has in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab10.config.errors import UserError
from lab10.config.registry import closest
from lab10.data.user_files.problems import Invalid, listed

# The values of the requested columns in a row, None where a value is missing; or why the row has none.
Row = tuple[Any, ...] | Invalid


def require_columns(path: Path, header: Sequence[str], columns: Sequence[str], header_optional: bool = False) -> None:
    """Raises UserError if a requested column is missing, with the closest name.

    Args:
      path: the file, for the message.
      header: names of its columns.
      columns: names of the requested columns.
      header_optional: whether the file may lack a header.
    """
    missing = next((column for column in columns if column not in header), None)
    if missing is not None:
        names = listed([repr(name[:40]) for name in header], 10)
        lines = [f"{path} has no column {missing!r}{closest(missing, header)} Its columns are {names}."]
        lines.append("Name columns with --text, --label, --group and --split-column.")
        if header_optional:
            lines.append("If the first row is not a header, name all columns: --columns text label")
        raise UserError("\n".join(lines))
