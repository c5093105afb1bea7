"""Reads rows of CSV, TSV, JSON Lines and Parquet files, with the line of each row.

The standard library's csv and json modules convert nothing and count lines. pandas would turn a text `null` into a
missing value, fill short rows, and take a surplus column as an index, all without a message.
"""

import codecs
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from lab10.config.registry import closest
from lab10.data.own_files.options import PrepareOptions
from lab10.data.own_files.problems import Invalid, some
from lab10.errors import UserError

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
SEPARATORS = (",", ";", "\t", "|")
# Longer marks first: that of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PARQUET_TYPES = ("string", "large_string", "string_view", "integer", "floating", "boolean", "null")
# The values of the requested columns in a row, None where a value is missing; or why the row has none.
Row = tuple[Any, ...] | Invalid


def read_rows(path: Path, columns: Sequence[str], options: PrepareOptions) -> Iterator[tuple[str, Row]]:
    """Yields the position of each row (`line 7`) and its values in `columns`.

    Raises:
      UserError: the file cannot be read, is empty, or lacks a column.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"{path} is not a supported file; expected {', '.join(SUFFIXES)}, a folder of images or an .npz file."
        )
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty.")
        if suffix == ".parquet":
            yield from _read_parquet(path, columns)
        elif suffix in (".jsonl", ".ndjson", ".json"):
            yield from _read_json(path, columns, options)
        else:
            yield from _read_csv(path, columns, options)
    except UnicodeError as error:
        raise UserError(_encoding_message(path, options.encoding, error)) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_text(path: Path, encoding: str | None) -> TextIO:
    """Opens a text file by its byte-order mark, else with `encoding`, else as UTF-8; keeps line ends as they are."""
    with open(path, "rb") as file:
        start = file.read(4)
    marked = next((codec for mark, codec in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    if encoding is not None:
        try:
            named = codecs.lookup(encoding)
        except LookupError:
            named = None
        if named is None or not getattr(named, "_is_text_encoding", True):
            raise UserError(f"Unknown --encoding {encoding!r}; expected one such as utf-8, utf-16, cp1252 or latin-1.")
        if marked is not None and not named.name.startswith(marked.removesuffix("-sig")):
            raise UserError(
                f"{path} starts with the byte-order mark of {marked.removesuffix('-sig')}, but --encoding is "
                f"{encoding}. Leave --encoding out."
            )
    return open(path, encoding=marked or encoding or "utf-8", newline="")


def _encoding_message(path: Path, encoding: str | None, error: UnicodeError) -> str:
    line = ""
    if not (encoding or "").lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        with open(path, "rb") as file:
            for number, content in enumerate(file, start=1):
                try:
                    content.decode(encoding or "utf-8")
                except UnicodeError as in_line:
                    line, error = f" (line {number})", in_line
                    break
    return (
        f"{path} is not valid {encoding or 'UTF-8'}{line}: {getattr(error, 'reason', error)}.\n"
        "Name its encoding, for example --encoding cp1252 (Western Windows), latin-1, utf-16, gb18030 or shift_jis."
    )


def _read_csv(path: Path, columns: Sequence[str], options: PrepareOptions) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses texts of more than 128 KiB
    separator, header = _separator(path, columns, options)
    indices = _column_indices(path, header, columns, options)
    with _open_text(path, options.encoding) as file:
        reader = csv.reader(file, **_dialect(separator, options))
        if options.columns is None:
            next(reader)
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "unexpected end" in str(error):
                    raise UserError(
                        f"The quotation mark that opens in line {line} of {path} is never closed.\n"
                        "Correct it; or, if quotation marks belong to the texts, add --no-quotes."
                    ) from error
                yield f"line {line:,}", Invalid(f"a field continues after its closing quotation mark ({error})")
                continue
            if not fields:  # a blank line
                continue
            if len(fields) != len(header):
                yield (
                    f"line {line:,}",
                    Invalid(f"{len(fields)} instead of {len(header)} fields (separator {separator!r})"),
                )
            else:
                yield f"line {line:,}", tuple(fields[i] for i in indices)


def _dialect(separator: str, options: PrepareOptions) -> dict[str, Any]:
    quoting = csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE
    return {"delimiter": separator, "quoting": quoting, "strict": True}


def _separator(path: Path, columns: Sequence[str], options: PrepareOptions) -> tuple[str, list[str]]:
    """Returns the separator and the names of the columns: the separator whose header has most requested columns."""
    candidates = [options.separator] if options.separator else list(SEPARATORS)
    if options.separator is None and path.suffix.lower() == ".tsv":
        candidates.sort(key="\t".__ne__)
    headers = {}
    for separator in candidates:
        with _open_text(path, options.encoding) as file:
            try:
                first = next((row for row in csv.reader(file, **_dialect(separator, options)) if row), None)
            except csv.Error:
                continue
        if first is None:
            raise UserError(f"{path} is empty.")
        headers[separator] = [name.strip() for name in first]
    if any("\0" in name for header in headers.values() for name in header):
        raise UserError(f"{path} has NUL bytes; is it UTF-16? Then add --encoding utf-16-le or --encoding utf-16-be.")
    if not headers:
        raise UserError(f"The first line of {path} cannot be read; if quotation marks belong to it, add --no-quotes.")
    if options.columns is None:
        best = max(headers, key=lambda separator: (len(set(columns) & {*headers[separator]}), len(headers[separator])))
        return best, headers[best]
    best = next((key for key in headers if len(headers[key]) == len(options.columns)), next(iter(headers)))
    if len(headers[best]) != len(options.columns):
        raise UserError(
            f"{path} has {len(headers[best])} columns, separated by {best!r}, but --columns names "
            f"{len(options.columns)}. Name all columns of the file, in order."
        )
    return best, list(options.columns)


def _column_indices(path: Path, header: Sequence[str], columns: Sequence[str], options: PrepareOptions) -> list[int]:
    """Returns the index of each requested column in the header."""
    for column in columns:
        if header.count(column) > 1:
            raise UserError(f"{path} has {header.count(column)} columns named {column!r}; rename all but one.")
    require_columns(path, header, columns, headless=options.columns is None)
    return [header.index(column) for column in columns]


def require_columns(path: Path, header: Sequence[str], columns: Sequence[str], headless: bool = False) -> None:
    """Raises UserError if a requested column is missing, with the closest name.

    Args:
      path: the file, for the message.
      header: names of its columns.
      columns: names of the requested columns.
      headless: whether the file may lack a header.
    """
    missing = next((column for column in columns if column not in header), None)
    if missing is not None:
        names = some([repr(name[:40]) for name in header], 10)
        lines = [f"{path} has no column {missing!r}{closest(missing, header)} Its columns are {names}."]
        lines.append("Name columns with --text, --label, --group and --split-column.")
        if headless:
            lines.append("If the first row is not a header, name all columns: --columns text label")
        raise UserError("\n".join(lines))


def _read_json(path: Path, columns: Sequence[str], options: PrepareOptions) -> Iterator[tuple[str, Row]]:
    header: dict[str, None] = {}
    rows: list[tuple[str, Row]] = []
    for position, value in _json_values(path, options):
        if isinstance(value, Invalid):
            rows.append((position, value))
        elif not isinstance(value, dict):
            rows.append((position, Invalid("not a JSON object")))
        else:
            header.update(dict.fromkeys(value))
            rows.append((position, tuple(value.get(column) for column in columns)))
    if header or not rows:
        require_columns(path, [*header], columns)
    yield from rows


def _json_values(path: Path, options: PrepareOptions) -> Iterator[tuple[str, Any]]:
    """Yields the position and the value of each line; of a file that is one JSON array, of each item."""
    with _open_text(path, options.encoding) as file:
        first = file.read(1)
        while first.isspace():
            first = file.read(1)
        file.seek(0)
        if first == "[":
            content = file.read()
            try:
                items = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path} is not valid JSON: {error}.") from error
            yield from ((f"item {number:,}", item) for number, item in enumerate(items, start=1))
            return
        for line, content in enumerate(file, start=1):
            if content.strip():
                try:
                    yield f"line {line:,}", json.loads(content)
                except (ValueError, RecursionError):
                    yield f"line {line:,}", Invalid("not valid JSON")


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        require_columns(path, schema.names, columns)
        for column in columns:
            kind = schema.field(column).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(getattr(pa.types, f"is_{name}")(kind) for name in _PARQUET_TYPES):
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
        raise UserError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0][:200]}") from error


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
