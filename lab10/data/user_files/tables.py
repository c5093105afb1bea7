"""Reads rows of CSV, TSV, JSON Lines and Parquet files, with the line of each row. The first three may be gzipped.

The standard library's csv and json modules convert nothing and count lines. pandas would turn a text `null` into a
missing value, fill short rows, and take a surplus column as an index, all without a message.
"""

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab10.config.errors import UserError
from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.parquet_tables import read_parquet
from lab10.data.user_files.problems import Invalid
from lab10.data.user_files.table_columns import Row, require_columns

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
TEXT_SUFFIXES = (*CSV_SUFFIXES, ".jsonl", ".ndjson", ".json")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
SEPARATORS = (",", ";", "\t", "|")
# Longer marks first: that of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_rows(path: Path, columns: Sequence[str], options: PrepareOptions) -> Iterator[tuple[str, Row]]:
    """Yields the position of each row (`line 7`) and its values in `columns`.

    Raises:
      UserError: the file cannot be read, is empty, or lacks a column.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise UserError(
            f"{path} is not a supported file; expected {', '.join(SUFFIXES)} (text files also as .gz), a folder of "
            "images or an .npz file."
        )
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty.")
        if suffix == ".parquet":
            yield from read_parquet(path, columns, options)
        elif suffix in (".jsonl", ".ndjson", ".json"):
            yield from _read_json(path, columns, options)
        else:
            yield from _read_csv(path, columns, options)
    except UnicodeError as error:
        raise UserError(_encoding_message(path, options.encoding, error)) from error
    except (OSError, EOFError, zlib.error) as error:  # the last two: a damaged .gz file
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def suffix_of(path: Path) -> str:
    """Returns the suffix of a table file in lower case; without `.gz`, if it is a text file."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == ".gz" and inner in TEXT_SUFFIXES else suffix


def _open_binary(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")


def _open_text(path: Path, encoding: str | None) -> io.TextIOWrapper:
    """Opens a text file by its byte-order mark, else with `encoding`, else as UTF-8; keeps line ends as they are."""
    with _open_binary(path) as file:
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
    return io.TextIOWrapper(_open_binary(path), encoding=marked or encoding or "utf-8", newline="")


def _encoding_message(path: Path, encoding: str | None, error: UnicodeError) -> str:
    line = ""
    if not (encoding or "").lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        with _open_binary(path) as file:
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
    separator, first_row = _separator(path, columns, options)
    header = first_row if options.columns is None else list(options.columns)
    indices = _column_indices(path, header, columns, options)
    with _open_text(path, options.encoding) as file:
        reader = csv.reader(file, **_dialect(separator, options))
        if first_row == header:  # also if it repeats the names that --columns gives
            next(row for row in reader if row)
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
    """Returns the separator and the first row: the separator whose first row has most of the requested columns."""
    candidates = [options.separator] if options.separator else list(SEPARATORS)
    if options.separator is None and suffix_of(path) == ".tsv":
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
    return best, headers[best]


def _column_indices(path: Path, header: Sequence[str], columns: Sequence[str], options: PrepareOptions) -> list[int]:
    """Returns the index of each requested column in the header."""
    for column in columns:
        if header.count(column) > 1:
            raise UserError(f"{path} has {header.count(column)} columns named {column!r}; rename all but one.")
    require_columns(path, header, columns, header_optional=options.columns is None)
    return [header.index(column) for column in columns]


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
                if "Extra data" in str(error):
                    raise UserError(
                        f"{path} has a JSON array in each line; expected an object in each line, with names, such as "
                        '{"text": "…", "label": "…"}.'
                    ) from error
                raise UserError(f"{path} is not valid JSON: {error}.") from error
            yield from ((f"item {number:,}", item) for number, item in enumerate(items, start=1))
            return
        for line, content in enumerate(file, start=1):
            if content.strip():
                try:
                    yield f"line {line:,}", json.loads(content)
                except (ValueError, RecursionError):
                    yield f"line {line:,}", Invalid("not valid JSON")
