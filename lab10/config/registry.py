"""Finds the components of a config, such as models and optimizers, by name.

Components are subclasses of a base class (`Model`, `Task`, `Optimizer`, …). Their class names identify
them in `config.json` and on the command line. Every module of the packages below is imported once, so
adding a component means adding a file.
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
    """Imports every module that may define a component."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{name}.{module.name}")


def components_of(base_class: type) -> dict[str, type]:
    """Returns the components with a base class: its subclasses that are not abstract, by class name."""
    import_all()
    found: dict[str, type] = {}
    subclasses: list[type] = base_class.__subclasses__()
    for subclass in subclasses:
        found |= ({} if inspect.isabstract(subclass) else {subclass.__name__: subclass}) | components_of(subclass)
    return found


def find_component(base_class: type, name: str) -> type:
    """Returns the component with that class name, ignoring case.

    Raises:
      UserError: there is none; the message suggests the closest name.
    """
    components = {key.casefold(): cls for key, cls in components_of(base_class).items()}
    if name.casefold() in components:
        return components[name.casefold()]
    names = ", ".join(cls.__name__ for cls in components.values())
    raise UserError(
        f"There is no {base_class.__name__} {name!r}{closest(name.casefold(), components)} Expected one of: {names}."
    )


def closest(name: str, names) -> str:
    """The end of a sentence: `; did you mean 'x'?`, or a period if no name is close."""
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else "."
