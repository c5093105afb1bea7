"""Texts, labels and groups from table files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lab10.config.errors import UserError
from lab10.data.tfds_import import import_tfds
from lab10.data.tokenizer import split_words
from lab10.data.user_files.class_names import classes_of, group_text, is_unicode, label_text, require_classes
from lab10.data.user_files.examples import SPLIT_NAMES, Examples, SourceFile
from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.problems import Invalid, Problems
from lab10.data.user_files.progress_bar import progress
from lab10.data.user_files.tables import read_rows


def read_texts(sources: Sequence[SourceFile], options: PrepareOptions) -> Examples:
    """Reads the texts of table files.

    Raises:
      UserError: a file cannot be read, a column is missing, or rows are invalid.
    """
    wanted = {"label": options.label, "group": options.group, "split": options.split_column}
    require_different_columns({"text": options.text} | wanted)
    columns = {"text": options.text} | {use: column for use, column in wanted.items() if column is not None}
    values: dict[str, list[str]] = {use: [] for use in columns}
    splits: list[str | None] = []
    problems = Problems("row")
    total = 0
    with progress("reading", None) as advance:
        for source in sources:
            for position, row in read_rows(source.path, list(columns.values()), options):
                total += 1
                advance(1)
                try:
                    if isinstance(row, Invalid):
                        raise row
                    checked = {use: _column_text(use, value, options) for use, value in zip(columns, row, strict=True)}
                except Invalid as reason:
                    problems.add(f"{source.path.name} {position}" if len(sources) > 1 else position, str(reason))
                    continue
                for use, value in checked.items():
                    values[use].append(value)
                splits.append(source.split)
    if total == 0:
        raise UserError(f"{', '.join(str(source.path) for source in sources)}: no rows after the header.")
    skipped = problems.counts_or_raise(total, options.skip_invalid)
    texts = values["text"]
    names, classes = classes_of(values["label"]) if options.label is not None else ((), np.zeros(len(texts), np.int64))
    if options.label is not None:
        require_classes(names, len(texts), options.label)
    tfds = import_tfds()
    features = {"text": tfds.features.Text()}
    if names:
        features["label"] = tfds.features.ClassLabel(names=names)
    if options.group is not None:
        features["group"] = tfds.features.Text()
    lengths = _lengths(texts)
    return Examples(
        modality="texts",
        features=features,
        read=lambda index: {"text": texts[index]},
        digests=[hashlib.sha256(text.encode()).digest() for text in texts],
        class_names=names,
        class_ids=classes,
        groups=values.get("group"),
        splits=values.get("split") or (None if splits[0] is None else [str(split) for split in splits]),
        skipped=skipped,
        sizes={"words": lengths},
        notes=tuple(_notes(names)),
    )


def require_different_columns(columns: Mapping[str, str | None]) -> None:
    """Raises UserError if the text and the label, or the label and the split, are in one column.

    A group may be the text, to keep equal texts in one split, or the label.
    """
    uses: dict[str, str] = {}
    for use, column in columns.items():
        if column is not None and use != "group" and uses.setdefault(column, use) != use:
            options = [f"--{name}" if name != "split" else "--split-column" for name in (uses[column], use)]
            raise UserError(f"{' and '.join(options)} both name the column {column!r}; expected different columns.")


def _column_text(use: str, value: object, options: PrepareOptions) -> str:
    """Returns the value of a column as text.

    Raises:
      Invalid: the value is missing or has the wrong type.
    """
    if use == "label":
        return label_text(value, options.missing)
    if use == "group":
        return group_text(value)
    if value is None:
        raise Invalid(f"no {use}")
    if not isinstance(value, str):
        raise Invalid(f"the {use} is of type {type(value).__name__}, not a string")
    if not value.strip():
        raise Invalid(f"no {use}")
    if not is_unicode(value):
        raise Invalid(f"the {use} is not valid Unicode")
    if use == "split":
        split = SPLIT_NAMES.get(value.strip().lower())
        if split is None:
            raise Invalid(f"unknown split {value[:20]!r} (expected train, test or validation)")
        return split
    return value


def _lengths(texts: Sequence[str]) -> dict[str, int]:
    """Returns statistics of the number of words, as training counts them."""
    counts = np.zeros(len(texts), np.int64)
    with progress("counting words", len(texts)) as advance:
        for i, text in enumerate(texts):
            counts[i] = len(split_words(text.encode()))
            advance(1)
    return {
        "shortest": int(counts.min()),
        "median": int(np.median(counts)),
        "longest": int(counts.max()),
        "none": int((counts == 0).sum()),
        "over_249": int((counts > 249).sum()),
    }


def _notes(names: Sequence[str]) -> Iterator[str]:
    if not names:
        yield "The texts have no labels, which classifiers need; --label names their column."
