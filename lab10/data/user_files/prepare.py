"""Prepares user files: reads and checks them, splits the examples, writes the dataset, and describes it."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from lab10.config.errors import UserError
from lab10.config.paths import path_of
from lab10.data.user_files.array_examples import read_arrays
from lab10.data.user_files.dataset_summary import summarize
from lab10.data.user_files.examples import SPLIT_NAMES, Examples, SourceFile, split_name
from lab10.data.user_files.image_examples import read_folders
from lab10.data.user_files.options import PrepareOptions
from lab10.data.user_files.problems import counted, listed
from lab10.data.user_files.splitting import grouped_split, stratified_split
from lab10.data.user_files.table_examples import read_texts
from lab10.data.user_files.tables import CSV_SUFFIXES, TEXT_SUFFIXES, suffix_of
from lab10.data.user_files.writer import Destination, write

TEST_FRACTION = 0.2
_TABLE_OPTIONS = ("text", "label", "split_column", "columns", "separator", "quotes", "encoding", "missing")
# Options for some of the table files.
_SUFFIXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("columns", "separator", "quotes"), CSV_SUFFIXES),
    "encoding": TEXT_SUFFIXES,
}
_IMAGE_OPTIONS = ("resize", "background", "grayscale")


def prepare_user_files(sources: Sequence[str], options: PrepareOptions, destination: Destination) -> dict[str, Any]:
    """Prepares user files as a TFDS dataset.

    Args:
      sources: files or folders, each as `PATH` or `SPLIT=PATH`.
      options: what the user chose.
      destination: name and folder of the dataset.

    Returns:
      The summary, as a JSON object.

    Raises:
      UserError: the files, the options or the destination are not valid.
    """
    files = [_source_file(source) for source in sources]
    _require_options(files, options)
    destination.is_already_written()  # before hours of reading
    examples = _read(files, options)
    splits = split_examples(examples, options)
    summary = summarize(examples, splits)
    given = {
        key: value for key, value in dataclasses.asdict(options).items() if value != getattr(PrepareOptions(), key)
    }
    folder = write(examples, splits, destination, f"Prepared by lab10 from {', '.join(sources)}, with {given}.")
    content = examples.content_sha256(splits)
    return {"name": destination.name, "folder": str(folder), "content_sha256": content} | summary


def _source_file(source: str) -> SourceFile:
    """Parses `PATH` or `SPLIT=PATH`."""
    named = re.match(r"([A-Za-z_-]+)=(.+)", source, re.DOTALL)
    split = None
    if named and not os.path.exists(path_of(source)):
        source = named[2]
        split = split_name(named[1])
    path = path_of(source)
    if not os.path.exists(path):
        raise UserError(f"{source} does not exist; --from needs a table file, a folder of images, or an .npz file.")
    return SourceFile(path, split)


def _require_options(files: Sequence[SourceFile], options: PrepareOptions) -> None:
    """Raises UserError if options contradict each other or do not apply to these files."""
    if len({file.split is None for file in files}) > 1:
        raise UserError("Some of the files after --from have a split and others do not: name all of them (train=FILE).")
    if len({_source_type(file.path) for file in files}) > 1:
        raise UserError("--from mixes tables, folders and .npz files; expected files of one kind.")
    is_table = _source_type(files[0].path) == "table"
    foreign = _IMAGE_OPTIONS if is_table else _TABLE_OPTIONS
    given = [name for name in foreign if getattr(options, name) != getattr(PrepareOptions(), name)]
    if given:
        kinds = ("images", "table files") if is_table else ("tables", "images")
        raise UserError(f"{_option(given[0])} is for {kinds[0]}, but {files[0].path} has {kinds[1]}.")
    for name, suffixes in _SUFFIXES.items():
        other = next((file.path for file in files if is_table and suffix_of(file.path) not in suffixes), None)
        if other is not None and getattr(options, name) != getattr(PrepareOptions(), name):
            raise UserError(f"{_option(name)} is for {', '.join(suffixes)} files, not for {other}.")
    if options.split_column is not None and files[0].split is not None:
        raise UserError("--split-column and SPLIT=FILE both name the splits; use one of them.")
    if options.test_fraction is not None and not 0 <= options.test_fraction < 1:
        raise UserError(f"--test-fraction is {options.test_fraction}; expected a number from 0 to below 1.")
    if options.seed is not None and options.seed < 0:
        raise UserError(f"--seed is {options.seed}; expected 0 or more.")
    if options.separator is not None and (len(options.separator) != 1 or options.separator in '"\r\n'):
        raise UserError(f"--separator is {options.separator!r}; expected one character.")
    if options.resize is not None and not all(1 <= side <= 4096 for side in options.resize):
        raise UserError(f"--resize is {options.resize}; expected a height and a width from 1 to 4096.")
    if options.background is not None:
        try:
            ImageColor.getrgb(options.background)
        except ValueError as error:
            raise UserError(
                f"--background {options.background!r} is not a color; try white, black or #808080."
            ) from error


def _option(name: str) -> str:
    return {"quotes": "--no-quotes"}.get(name, f"--{name.replace('_', '-')}")


def _source_type(path: Path) -> str:
    return "folder" if path.is_dir() else "arrays" if path.suffix.lower() == ".npz" else "table"


def _read(files: list[SourceFile], options: PrepareOptions) -> Examples:
    readers = {"folder": read_folders, "arrays": read_arrays, "table": read_texts}
    examples = readers[_source_type(files[0].path)](files, options)
    named = [_split_in_name(file.path) for file in files]
    if examples.splits is None and len({*named} - {None}) > 1:
        sources = " ".join(f"{split or 'SPLIT'}={file.path}" for split, file in zip(named, files, strict=True))
        note = f"All files were merged, although their names suggest splits. To keep these splits: --from {sources}"
        examples = dataclasses.replace(examples, notes=(*examples.notes, note))
    return examples


def _split_in_name(path: Path) -> str | None:
    """Returns the split that a word in the name of a file tells: `train` for `my-train.csv`."""
    return next((SPLIT_NAMES[word] for word in re.split(r"[\W_]+", path.name.lower()) if word in SPLIT_NAMES), None)


def split_examples(examples: Examples, options: PrepareOptions) -> dict[str, np.ndarray]:
    """Returns the indices of the examples of each split, sorted, int64 [examples of the split].

    Raises:
      UserError: the splits are too small, or a group is in two splits that the files name.
    """
    count = len(examples)
    if examples.splits is not None:
        for name in ("test_fraction", "seed"):
            if getattr(options, name) is not None:
                raise UserError(
                    f"{_option(name)} is for choosing a test split at random, but the files already name the splits; "
                    "leave it out."
                )
        names = [name for name in ("train", "validation", "test") if name in examples.splits]
        splits: dict[str, np.ndarray] = {
            name: np.flatnonzero([split == name for split in examples.splits]) for name in names
        }
        _require_whole_groups(examples, splits)
        return splits
    fraction = TEST_FRACTION if options.test_fraction is None else options.test_fraction
    if fraction == 0:
        if options.seed is not None:
            raise UserError("--seed chooses the test examples, and --test-fraction 0 makes none; use one of them.")
        return {"train": np.arange(count)}
    seed = options.seed or 0
    if count < 2:
        raise UserError(
            "There is only one example; expected at least two, for a train and a test split.\n"
            "--test-fraction 0 makes no test split."
        )
    if examples.groups is None:
        held_out = stratified_split(examples.class_ids, fraction, seed)
    else:
        ids = {group: i for i, group in enumerate(sorted(set(examples.groups)))}
        if len(ids) < 2:
            raise UserError(
                f"All {examples.modality} are in the group {examples.groups[0][:40]!r}; expected at least two groups "
                "(--group), for a train and a test split."
            )
        groups = np.array([ids[group] for group in examples.groups])
        held_out = grouped_split(examples.class_ids, groups, fraction, seed)
    return {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)}


def _require_whole_groups(examples: Examples, splits: dict[str, np.ndarray]) -> None:
    if examples.groups is None:
        return
    split_of: dict[str, str] = {}
    torn: dict[str, str] = {}
    for name, indices in splits.items():
        for group in {examples.groups[index] for index in indices.tolist()}:
            if split_of.setdefault(group, name) != name:
                torn[group] = f"{split_of[group]} and {name}"
    if torn:
        group = min(torn)
        names = listed([repr(name[:40]) for name in sorted(torn)])
        raise UserError(
            f"{counted(len(torn), 'group')} in more than one split: {names} "
            f"({group[:40]!r} is in {torn[group]}).\n"
            "Move each group to one split, leave --group out, or leave out what names the splits."
        )
