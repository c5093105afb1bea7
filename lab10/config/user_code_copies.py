"""Copies of files with user code: in the workdir of a run, and in the folder of a sweep."""

import dataclasses
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from lab10.config.atomic_write import write_atomically
from lab10.config.equivalent_sources import is_equivalent
from lab10.config.errors import UserError
from lab10.config.user_code import HOW_TO_MOVE, USER_CODE_FOLDER, UserCode
from lab10.config.user_modules import already_run, sha256_of

MAX_BYTES = 2**22  # a file of Python is smaller; a link to a device is not read for ever


def write_copies(workdir: Path, current: Sequence[UserCode]) -> None:
    """Copies the files of a run's user code into its workdir.

    Args:
      workdir: the folder of the run.
      current: what config.json records.
    """
    folder = workdir / USER_CODE_FOLDER
    for own in current:
        if own.file is None:
            continue
        if folder.is_symlink():
            raise UserError(f"{folder} is a link, and may point anywhere. Remove it, or choose another --workdir.")
        folder.mkdir(exist_ok=True)
        write_atomically(folder / own.file, own.source)


def copy_into(folder: Path, code: Sequence[UserCode]) -> list[UserCode]:
    """Copies files whose code this process has run to a folder, for the other processes of a sweep.

    A copy that is there already, and differs only in comments and docstrings, stays.

    Returns:
      The code as it is in the folder.

    Raises:
      UserError: the folder has other code.
    """
    shared = []
    for own in code:
        known = already_run(own.sha256) if own.file is not None else None
        if known is not None and (path := folder / USER_CODE_FOLDER / str(own.file)).exists():
            try:
                present = _read_plain_file(path)
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror}).") from error
            if not is_equivalent(present, known.source):
                raise UserError(
                    f"{known.path} has changed since the sweep in {folder} started; {path} is a copy of the original. "
                    "Choose a new folder with --workdir, or restore the file."
                )
            own = dataclasses.replace(own, sha256=sha256_of(present), source=present)
        elif known is not None:
            own = dataclasses.replace(own, source=known.source)
        shared.append(own)
    write_copies(folder, shared)
    return shared


def read_copy(workdir: Path, own: UserCode) -> bytes:
    """Reads a copy, checked to be a plain file in the workdir with the recorded digest."""
    assert own.file is not None
    path = workdir / USER_CODE_FOLDER / own.file
    try:
        source = _read_plain_file(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}). It defines {own.classes_in_words}. Copy all files of the run."
        ) from error
    if sha256_of(source) != own.sha256:
        raise UserError(
            f"{path} has changed since the run was trained: its SHA-256 is not the one in config.json. "
            "Restore the file from the original workdir."
        )
    return source


def _read_plain_file(path: Path) -> bytes:
    if path.parent.is_symlink():
        raise OSError(0, f"{path.parent.name} is a link", str(path))
    # Without waiting for a writer if it is a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a plain file", str(path))
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(0, f"larger than {MAX_BYTES} bytes", str(path))
    return content


def require_same(workdir: Path, recorded: Sequence[UserCode], current: Sequence[UserCode]) -> None:
    """Checks that the code with which a run resumes computes what the recorded code does.

    Comments, docstrings and the line `experiment = …` may differ: the experiment's fields are compared elsewhere.

    Raises:
      UserError: the code differs, or cannot be compared.
    """
    for own in recorded:
        same = next((each for each in current if each.sha256 == own.sha256), None)
        named = next((each for each in current if own.name == each.name), None)
        if same is not None or (named is not None and own.file is not None and _is_equivalent(workdir, own, named)):
            continue
        if own.file is None and own.module is None:
            raise UserError(
                f"{workdir} was trained with {own.classes_in_words} of another notebook session, or of a cell that was "
                f"run again since: whether the class is the same cannot be told. {HOW_TO_MOVE}"
            )
        if named is None:
            raise UserError(
                f"{workdir} holds a run with another config: it has {own.classes_in_words} of {own.name}, "
                "and this experiment does not. Choose a new folder with --workdir."
            )
        command = (
            f"python scripts/train.py {workdir / USER_CODE_FOLDER / own.file} --workdir {workdir}"
            if own.file is not None
            else ""
        )
        raise UserError(
            f"{named.name} has changed since {workdir} was trained with {own.classes_in_words} of it, and may give "
            "another result. Choose a new folder with --workdir, or restore the file."
            + (
                f"\nTo resume with the recorded file, if you trust it, with the same other options: {command}"
                if command
                else ""
            )
        )


def _is_equivalent(workdir: Path, own: UserCode, current: UserCode) -> bool:
    try:
        recorded = read_copy(workdir, own)
    except UserError:
        return False
    return is_equivalent(recorded, current.source, ignored="experiment")
