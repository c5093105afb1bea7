"""The registry of components: the concrete subclasses of a base class, by class name.

The base classes are `Model`, `Task`, `Optimizer`, and so on. A component's class name identifies it in `config.json`
(as `type`) and on the command line. Every module of the packages below is imported once, so adding a component takes
one new file there and no registration.
"""

import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterable

from lab10.errors import UserError

PACKAGES = ("lab10.data", "lab10.models", "lab10.tasks", "lab10.optim.optimizers", "lab10.optim.schedules")


@functools.cache
def import_all() -> None:
    """Imports every module that may define a component."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{name}.{module.name}")


def components_of(base_class: type) -> dict[str, type]:
    """Returns all concrete subclasses of a base class, direct and indirect, by class name."""
    import_all()
    components: dict[str, type] = {}
    subclasses: list[type] = base_class.__subclasses__()
    for subclass in subclasses:
        if not inspect.isabstract(subclass):
            components[subclass.__name__] = subclass
        components |= components_of(subclass)
    return components


def find_component(base_class: type, name: str) -> type:
    """Returns the concrete subclass of `base_class` with the given class name, ignoring case.

    Raises:
      UserError: there is no such subclass; the message suggests the closest name.
    """
    components = {cls.__name__.casefold(): cls for cls in components_of(base_class).values()}
    if name.casefold() in components:
        return components[name.casefold()]
    names = ", ".join(cls.__name__ for cls in components.values())
    raise UserError(
        f"There is no {base_class.__name__} {name!r}{closest(name.casefold(), components)} Expected one of: {names}."
    )


def closest(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error's sentence: `; did you mean 'x'?`, or a period if no known name is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else "."
