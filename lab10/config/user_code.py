"""Records in config.json the code of components defined outside lab10.

A run keeps a copy of the file that defines them (`user_code_copies`), and its digest. Reading a run does not run
that copy unless the reader trusts it (`restore_user_code`).
"""

import dataclasses
import re
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab10.config.errors import UserError
from lab10.config.experiment import user_component_classes
from lab10.config.user_modules import module_that_defines, require_distinct_names, sha256_of

USER_CODE_FOLDER = "user_code"
HOW_TO_MOVE = (
    "Put it into a file that ends in `experiment = Experiment(…)`, and train that file in a new --workdir: "
    "python scripts/train.py FILE.py"
)


@dataclasses.dataclass(frozen=True)
class UserCode:
    """What config.json records of the code of one module outside lab10.

    Attributes:
      classes: names of the components that the run uses.
      file: name of the copy in `user_code/`; None for a module that is imported by its name, and for a notebook.
      module: name of the module to import; None for a copied file, and for a notebook.
      sha256: digest of the file; for a notebook, a random number that only its process knows.
      source: content of the file to copy. Not recorded.
    """

    classes: tuple[str, ...]
    file: str | None
    module: str | None
    sha256: str
    source: bytes = dataclasses.field(default=b"", repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name used in messages."""
        return self.file or self.module or "a notebook"

    @property
    def classes_in_words(self) -> str:
        """Names of its classes, for messages."""
        names = [*self.classes[:5], *["…"] * (len(self.classes) > 5)]
        return f"the class {names[0]}" if len(names) == 1 else f"the classes {', '.join(names)}"

    def to_json(self) -> dict[str, Any]:
        """The entry of config.json."""
        return {"file": self.file, "module": self.module, "sha256": self.sha256, "classes": list(self.classes)}


# Classes of notebooks, and of functions, by the random number that stands for them in config.json.
session_classes: dict[str, tuple[type, ...]] = {}


def find_user_code(*configs: Any) -> list[UserCode]:
    """Returns the code outside lab10 that an experiment or a spec is made of; errors as for `find_code_of_classes`."""
    return find_code_of_classes(user_component_classes(*configs))


def find_code_of_classes(classes: Iterable[type]) -> list[UserCode]:
    """Returns the code that defines the given classes, a module each.

    Raises:
      UserError: a file cannot be read, or two files, or two classes, have the same name.
    """
    classes = list(classes)
    require_distinct_names("The experiment", classes)
    by_module: dict[str, list[type]] = {}
    for cls in sorted(classes, key=lambda cls: cls.__qualname__):
        by_module.setdefault(cls.__module__, []).append(cls)
    code = [_user_code_of_module(classes) for _, classes in sorted(by_module.items())]
    files = [own.file for own in code if own.file is not None]
    if len(set(files)) < len(files):
        raise UserError(f"The experiment has classes of two files named {max(files, key=files.count)}. Rename one.")
    return code


def _user_code_of_module(classes: list[type]) -> UserCode:
    names, module = tuple(cls.__name__ for cls in classes), sys.modules.get(classes[0].__module__)
    if (own := module_that_defines(classes[0])) is not None:
        name = own.path.name if _is_plain_python_file_name(own.path.name) else "experiment.py"
        return UserCode(names, name, None, own.sha256, own.source)
    importable = module is not None and module.__name__ != "__main__" and getattr(module, "__file__", None)
    if importable and all(getattr(module, cls.__name__, None) is cls for cls in classes):
        return UserCode(names, None, classes[0].__module__, digest_of_module(classes[0].__module__))
    known = (number for number, members in session_classes.items() if members == tuple(classes))
    number = next(known, None) or secrets.token_hex(32)
    session_classes[number] = tuple(classes)
    return UserCode(names, None, None, number)


def user_classes(*configs: Any) -> set[type]:
    """Returns the component classes of configs that are defined outside lab10, and all others of the same files."""
    classes = set(user_component_classes(*configs))
    for own in map(module_that_defines, list(classes)):
        classes |= set(own.classes) if own is not None else set()
    return classes


def parse(value: Any) -> list[UserCode]:
    """Reads what config.json records.

    Raises:
      UserError: it is damaged.
    """
    entries = value if isinstance(value, list) else [None]
    found = []
    for entry in entries:
        fields = entry if isinstance(entry, dict) else {}
        file, module, sha256 = fields.get("file"), fields.get("module"), fields.get("sha256")
        classes = fields.get("classes")
        if not (
            isinstance(classes, list)
            and classes
            and all(isinstance(name, str) and name.isidentifier() for name in classes)
            and isinstance(sha256, str)
            and (file is None or (isinstance(file, str) and _is_plain_python_file_name(file)))
            and (module is None or (isinstance(module, str) and all(map(str.isidentifier, module.split(".")))))
        ):
            raise UserError("config.json is damaged: its user_code is not what scripts/train.py writes.")
        found.append(UserCode(tuple(classes), file, module, sha256))
    return found


def _is_plain_python_file_name(name: str) -> bool:
    return name.isprintable() and not name.startswith(".") and re.fullmatch(r"[^/\\]+\.py", name) is not None


def digest_of_module(name: str) -> str:
    """Returns the digest of the file of an imported module.

    Raises:
      UserError: the file cannot be read.
    """
    path = getattr(sys.modules[name], "__file__", None) or ""
    try:
        return sha256_of(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"The file of the module {name!r}, {path}, cannot be read ({error.strerror}).") from error
