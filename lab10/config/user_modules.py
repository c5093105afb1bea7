"""Runs an experiment's file as a module, known by its content.

Two files of the same content are one module, so the copy of a file in a workdir has the same classes as the file
itself. Two versions of a file are two modules, whose classes can have the same names.
"""

import dataclasses
import hashlib
import importlib.abc
import importlib.util
import sys
import traceback
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from lab10.config.equivalent_sources import version_digest
from lab10.config.errors import UserError
from lab10.config.experiment import BASE_CLASSES
from lab10.config.registry import VERSION_ATTRIBUTE, all_subclasses, components_of, is_built_in
from lab10.data.dataset import Spec

COMPONENT_BASES = (*BASE_CLASSES, Spec)


@dataclasses.dataclass(frozen=True)
class UserModule:
    """The module of a file that was run in this process.

    Attributes:
      path: the file that was run.
      source: its content, then.
      module: the module.
      classes: the components that it defines, or imports from files outside lab10.
    """

    path: Path
    source: bytes
    module: ModuleType
    classes: tuple[type, ...]

    @property
    def sha256(self) -> str:
        """The digest of the content."""
        return sha256_of(self.source)


# The files that define components and were run in this process, by the name of their module.
_run: dict[str, UserModule] = {}


def sha256_of(content: bytes) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def module_that_defines(cls: type) -> UserModule | None:
    """Returns the file that `import_file` has run and that defines a class; else None."""
    return _run.get(cls.__module__)


def already_run(sha256: str) -> UserModule | None:
    """Returns the module of a file with this content if it defines components and this process has run it."""
    return next((own for own in _run.values() if own.sha256 == sha256), None)


def import_file(path: Path, source: bytes) -> UserModule:
    """Runs a Python file, or returns its module if it defines components and its content was already run.

    Raises:
      UserError: the file fails, or a component has the name of another; the message has the line.
    """
    sha256 = sha256_of(source)
    if (known := already_run(sha256)) is not None:
        return known
    # No module of another file has this name, and two versions of a file can be imported in one process.
    name = f"{path.stem}_{sha256[:12]}"
    spec = importlib.util.spec_from_loader(name, _Source(path, source))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = _defined_in(name)  # by a run of the same content that failed
    sys.modules[name] = module  # where dataclasses and tyro look up a class's annotations and docstrings
    try:
        spec.loader.exec_module(module)
        classes = tuple(dict.fromkeys([*components_in(module), *sorted(_defined_in(name) - before, key=repr)]))
        require_distinct_names(path, classes)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise UserError(_describe(error, path)) from error
    vars(module)[VERSION_ATTRIBUTE] = version_digest(source, ignored="experiment")
    own = UserModule(path, source, module, classes)
    if any(cls.__module__ == name for cls in classes):
        _run[name] = own
    return own


class _Source(importlib.abc.SourceLoader):
    """Loads a module from bytes that were read before: no second read, and no bytecode from a folder next to it."""

    def __init__(self, path: Path, source: bytes):
        self._path, self._source = path, source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._source

    def path_stats(self, path: str | bytes) -> dict[str, float]:
        raise OSError("bytecode is neither read nor written")


def components_in(module: ModuleType) -> list[type]:
    """Returns the component classes outside lab10 that a module defines or imports."""
    named = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, COMPONENT_BASES))
    return [cls for cls in dict.fromkeys(named) if not is_built_in(cls)]


def _defined_in(name: str) -> set[type]:
    """The component classes of a module, whether it still has them by their names or not."""
    return {cls for root in COMPONENT_BASES for cls in all_subclasses(root) if cls.__module__ == name}


def require_distinct_names(where: object, classes: Collection[type]) -> None:
    """Checks that no component has the name of another, because configs and options know them by their names.

    Args:
      where: what has the classes, for the message.
      classes: components outside lab10.

    Raises:
      UserError: two names are equal, or differ only in upper and lower case.
    """
    for root in COMPONENT_BASES:
        built_in = {name.casefold(): name for name in components_of(root)}
        own = [cls.__name__ for cls in classes if issubclass(cls, root)]
        counts = Counter(name.casefold() for name in own)
        for name in own:
            if name.casefold() in built_in:
                raise UserError(
                    f"{where} has the {_base_class_name(root)} {name}, and lab10 has the {_base_class_name(root)} "
                    f"{built_in[name.casefold()]}. Give the class another name, also in upper and lower case."
                )
            if counts[name.casefold()] > 1:
                raise UserError(f"{where} has two classes {name}; expected names that differ. Rename one.")


def _base_class_name(root: type) -> str:
    return root.__name__.lower().replace("trainstep", "train step")


def _describe(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}, line {error.lineno}: {error.msg}."
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    text = f"{path}, line {lines[-1] if lines else '?'}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        text += (
            f"\nThe file imports the module {error.name!r}, which cannot be found here. Install it, add its folder "
            "to PYTHONPATH, or move what it defines into the file: a run copies this file only."
        )
    return text
