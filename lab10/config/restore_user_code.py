"""Restores the classes of a run's user code: runs a copy in the workdir only for a reader who trusts it."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from lab10.config.equivalent_sources import docstring_first_line
from lab10.config.errors import UserError
from lab10.config.user_code import HOW_TO_MOVE, USER_CODE_FOLDER, UserCode, digest_of_module, session_classes
from lab10.config.user_code_copies import read_copy
from lab10.config.user_modules import already_run, components_in, import_file


def restore_user_code(workdir: Path, recorded: Sequence[UserCode], trust: bool) -> set[type]:
    """Returns the classes of a run's user code; runs the copies in the workdir only if they are trusted.

    What this process has already run, of the same content, is used as it is.

    Raises:
      UserError: the code is not trusted, cannot be found, or has changed since the run was trained.
    """
    for own in recorded:  # what cannot be restored is refused whether it is trusted or not
        if own.file is not None:
            read_copy(workdir, own)
        elif own.module is None and own.sha256 not in session_classes:
            raise UserError(
                f"{workdir} was trained with {own.classes_in_words}, defined in a notebook or a script, of which no "
                f"file was saved: only the process that trained it can load it. {HOW_TO_MOVE}"
            )
    unknown = [own for own in recorded if not _is_known(own)]
    if unknown and not trust:
        raise UserError(_explain(workdir, unknown))
    return restore_trusted(workdir, recorded)


def restore_trusted(folder: Path, recorded: Sequence[UserCode]) -> set[type]:
    """Returns the classes of user code that is copied to a folder which this process trusts.

    Raises:
      UserError: the code cannot be found, or has changed.
    """
    return {cls for own in recorded for cls in _classes(folder, own)}


def _is_known(own: UserCode) -> bool:
    if own.file is not None:
        return already_run(own.sha256) is not None
    return own.module is None or own.module in sys.modules


def _classes(workdir: Path, own: UserCode) -> list[type]:
    if own.file is not None:
        path = workdir / USER_CODE_FOLDER / own.file
        found = (already_run(own.sha256) or import_file(path, read_copy(workdir, own))).classes
    elif own.module is not None:
        found = tuple(_import_by_name(workdir, own))
    else:
        found = session_classes[own.sha256]
    by_name = {cls.__name__: cls for cls in found}
    if missing := [name for name in own.classes if name not in by_name]:
        raise UserError(f"{own.name} of {workdir} does not define {', '.join(missing)}. Copy all files of the run.")
    return [by_name[name] for name in own.classes]


def _import_by_name(workdir: Path, own: UserCode) -> list[type]:
    """Imports a module by its name; returns its components."""
    assert own.module is not None
    try:
        module = importlib.import_module(own.module)
    except Exception as error:
        raise UserError(
            f"{workdir} was trained with {own.classes_in_words} of the module {own.module!r}, which cannot be imported "
            f"here ({error}). Install it, or add its folder to PYTHONPATH."
        ) from error
    if digest_of_module(own.module) != own.sha256:
        raise UserError(
            f"{module.__file__} has changed since {workdir} was trained with its {own.classes_in_words}. "
            "Restore the file as it was, or train again in a new --workdir."
        )
    return components_in(module)


def _explain(workdir: Path, unknown: Sequence[UserCode]) -> str:
    """Says what would be run, and how to trust it."""
    lines = []
    for own in unknown[:4]:
        if own.file is None:
            lines.append(f"  the module {own.module}, for {own.classes_in_words}")
            continue
        says = docstring_first_line(read_copy(workdir, own))
        lines.append(
            f"  {workdir / USER_CODE_FOLDER / own.file}, for {own.classes_in_words}{f': “{says}”' if says else ''}"
        )
    return "\n".join(
        [
            f"{workdir} has code of its own, which loading the run would execute:",
            *lines,
            "Such code can do whatever you can. Read it first. If you trust it, load the run with "
            "lab10.load(DIR, trust=True), or give the script --trust.",
        ]
    )
