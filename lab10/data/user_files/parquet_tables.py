"""Reads rows of Parquet files."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab10.config.errors import UserError, first_line
from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.table_columns import Row, require_columns

_TYPES = ("string", "large_string", "string_view", "integer", "floating", "boolean", "null")


def read_parquet(path: Path, columns: Sequence[str], options: PrepareOptions) -> Iterator[tuple[str, Row]]:
    """Yields the position of each row (`row 7`) and its values in `columns`.

    Raises:
      UserError: the file cannot be read, has images, or lacks a column or has one of another type.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        _refuse_images(path, schema, options)
        require_columns(path, schema.names, columns)
        for column in columns:
            kind = schema.field(column).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(getattr(pa.types, f"is_{name}")(kind) for name in _TYPES):
                raise UserError(
                    f"Column {column!r} of {path} has the type {kind}; expected strings, or for labels also "
                    "integers, floats or booleans."
                )
        names = {column: _huggingface_names(schema, column) for column in columns}
        row = 0
        for batch in file.iter_batches(columns=list(dict.fromkeys(columns))):
            values = {column: batch.column(column).to_pylist() for column in columns}
            for items in zip(*(values[column] for column in columns), strict=True):
                row += 1
                yield (
                    f"row {row:,}",
                    tuple(_named(item, names[column]) for item, column in zip(items, columns, strict=True)),
                )
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {first_line(error, 200)}") from error


def _refuse_images(path: Path, schema: Any, options: PrepareOptions) -> None:
    """Raises UserError if the file has images, as those of Hugging Face's `datasets`, and not the texts' column."""
    import pyarrow as pa

    def is_bytes(kind: Any) -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    # An image is encoded bytes, or a struct that has them as `bytes`.
    images = {}
    for field in schema:
        is_struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        if is_bytes(field.type.field("bytes").type if is_struct else field.type):
            images[field.name] = '["bytes"]' if is_struct else ""
    if images and (options.text in images or options.text not in schema.names):
        column = options.text if options.text in images else next(iter(images))
        label = f"str(row[{options.label or 'label'!r}])"
        raise UserError(
            f"Column {column!r} of {path} has bytes, as of images, and Parquet files are read for texts. Write the "
            "images into a folder per class, and prepare that folder:\n"
            "  import pandas, pathlib\n"
            f"  for i, row in pandas.read_parquet({str(path)!r}).iterrows():\n"
            f'      file = pathlib.Path("images", {label}, f"{{i}}.png")\n'
            "      file.parent.mkdir(parents=True, exist_ok=True)\n"
            f"      file.write_bytes(row[{column!r}]{images[column]})"
        )


def _huggingface_names(schema: Any, column: str) -> list[str] | None:
    """Returns the class names that Hugging Face's `datasets` stores next to a column of class ids."""
    try:
        feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None  # -1 marks an example without a label
