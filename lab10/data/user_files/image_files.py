"""Finds the images of a folder, with the split and class that its subfolders name."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from lab10.config.errors import UserError
from lab10.data.user_files.class_names import is_unicode
from lab10.data.user_files.examples import SPLIT_NAMES, SourceFile
from lab10.data.user_files.image_file_decoding import SUFFIXES
from lab10.data.user_files.problems import counted, listed

# Left by operating systems.
_IGNORED = ("__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "$recycle.bin")


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image file, the split and the class that its folders name, and its name in messages."""

    path: Path
    split: str | None
    class_name: str | None
    name: str


def find_images(sources: list[SourceFile]) -> tuple[list[ImageFile], tuple[str, ...]]:
    """Returns the images of folders, sorted by path, and notes on what was left aside.

    A folder has either images, or a subfolder per class, or a subfolder per split with either of these. Folders below
    that of a class belong to the class.

    Raises:
      UserError: a folder has no images, or its layout is ambiguous.
    """
    images: list[ImageFile] = []
    others: list[str] = []
    notes: list[str] = []
    for source in sources:
        found = list(_visible_files(source.path))
        other = [file for file in found if file.suffix.lower() not in SUFFIXES]
        relative = [file.relative_to(source.path) for file in found if file.suffix.lower() in SUFFIXES]
        others += [str(file.relative_to(source.path)) for file in other]
        if not relative:
            kinds = f"; it has {listed([file.name for file in other])}" if other else ""
            raise UserError(f"{source.path} has no images{kinds}.\nExpected files such as {', '.join(SUFFIXES[:10])}.")
        images += _with_splits_and_classes(source, relative, notes)
        empty = {path.name for path in source.path.iterdir() if path.is_dir() and not _is_ignored(path)}
        empty -= {path.parts[0] for path in relative}
        if empty:
            notes.append(f"Folders without images: {listed(sorted(empty))}.")
    if others:
        notes.append(f"{counted(len(others), 'file')} left aside, not images: {listed(others)}.")
    if len({image.class_name is None for image in images}) > 1:
        raise UserError(
            "Some of the splits have class folders and others do not; expected a folder per class in each of them."
        )
    return images, tuple(notes)


def _visible_files(folder: Path, ancestors: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yields all files below a folder, sorted by name; hidden ones and the system's are ignored."""
    real = os.path.realpath(folder)
    if real in ancestors:  # a link to a folder above it
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        if _is_ignored(entry):
            continue
        if not is_unicode(entry.name):
            raise UserError(f"{os.fsencode(entry.name)!r} in {folder} is not a valid UTF-8 name; rename it.")
        if entry.is_dir():
            yield from _visible_files(entry, ancestors | {real})
        else:
            yield entry


def _is_ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in _IGNORED


def _with_splits_and_classes(source: SourceFile, relative: list[Path], notes: list[str]) -> Iterator[ImageFile]:
    """Yields the images of a folder with their splits and classes."""
    tops = {path.parts[0] for path in relative if len(path.parts) > 1}
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    has_splits = source.split is None and "train" in splits.values()
    if has_splits and (len(splits) < len(tops) or any(len(path.parts) == 1 for path in relative)):
        outside = sorted({path.parts[0] for path in relative} - set(splits))
        raise UserError(
            f"{source.path} has folders of splits ({', '.join(sorted(splits))}) next to other images: "
            f"{listed(outside)}.\nMove them into a split, or name the folders: --from train=FOLDER test=FOLDER"
        )
    parts = {top: [path for path in relative if path.parts[0] == top] for top in tops} if has_splits else {"": relative}
    for top, paths in sorted(parts.items()):
        split = splits[top] if has_splits else source.split
        below = [path.parts[1:] if has_splits else path.parts for path in paths]
        classes = {path[0] for path in below if len(path) > 1}
        loose = [path[0] for path in below if len(path) == 1]
        if classes and loose:
            raise UserError(
                f"{source.path / top} has {counted(len(loose), 'image')} next to {counted(len(classes), 'folder')} "
                f"({listed(sorted(loose))} next to {listed(sorted(classes))}).\n"
                "Move the images into folders, or the folders away."
            )
        if len(classes) == 1 and not has_splits and source.split is None:
            notes.append(f"All images are in one folder, {next(iter(classes))!r}, so they have no labels.")
            classes = set()
        for path, parts_below in zip(paths, below, strict=True):
            class_name = parts_below[0].strip() if classes else None
            yield ImageFile(source.path / path, split, class_name, str(path))
