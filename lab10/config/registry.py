"""Kinds: the members of a family of config classes, found by name.

A family is a base class (`Model`, `Task`, `Optimizer`, …); its kinds are its subclasses, known by
their class names in `config.json` and on the command line. Every module of the packages below is
imported once, so a new kind is a new file there and nothing else.
"""

import difflib
import functools
import importlib
import inspect
import pkgutil

from lab10.errors import UserError

PACKAGES = ("lab10.data", "lab10.models", "lab10.tasks", "lab10.optim.optimizers", "lab10.optim.schedules")


@functools.cache
def import_all() -> None:
    """Imports every module that may hold a kind."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{name}.{module.name}")


def components_of(family: type) -> dict[str, type]:
    """The kinds of a family, its subclasses that are not abstract, by class name."""
    import_all()
    found: dict[str, type] = {}
    subclasses: list[type] = family.__subclasses__()
    for subclass in subclasses:
        found |= ({} if inspect.isabstract(subclass) else {subclass.__name__: subclass}) | components_of(subclass)
    return found


def find_component(family: type, name: str) -> type:
    """The kind of `family` with that class name, in any case.

    Raises:
      UserError: there is none; names the closest.
    """
    kinds = {kind.casefold(): cls for kind, cls in components_of(family).items()}
    if name.casefold() in kinds:
        return kinds[name.casefold()]
    names = ", ".join(cls.__name__ for cls in kinds.values())
    raise UserError(
        f"There is no {family.__name__} {name!r}{closest(name.casefold(), kinds)} Expected one of: {names}."
    )


def closest(name: str, names) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a full stop where nothing is close."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else "."
