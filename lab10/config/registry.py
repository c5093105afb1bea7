"""The registry of components: the concrete subclasses of a base class, by class name.

The base classes are `Model`, `Task`, `Optimizer`, and so on. A component's class name identifies it in `config.json`
(as `type`) and on the command line. Every module of the packages below is imported once, so adding a component takes
one new file there and no registration.

A component defined elsewhere, in an experiment's own file, is found only where it is given as `own`: two files may
define a class of the same name, and both may be imported in one process.
"""

import difflib
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Collection, Iterable, Iterator

from lab10.config.errors import UserError

PACKAGES = (
    "lab10.data",
    "lab10.models",
    "lab10.tasks",
    "lab10.metrics",
    "lab10.optim.optimizers",
    "lab10.optim.schedules",
    "lab10.training.train_steps",
)

# The attribute of an experiment's module that tells its versions apart.
VERSION_ATTRIBUTE = "__lab10_version__"


@functools.cache
def import_all() -> None:
    """Imports every module that may define a component."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{name}.{module.name}")


def is_built_in(cls: type) -> bool:
    """Returns whether a class is defined in lab10."""
    return cls.__module__.partition(".")[0] == "lab10"


def type_name(cls: type) -> str:
    """Returns a class's name; for a class outside lab10, one that also tells its versions in this process apart."""
    module = sys.modules.get(cls.__module__)
    if is_built_in(cls) or module is None:
        return cls.__name__
    if (version := getattr(module, VERSION_ATTRIBUTE, None)) is not None:
        return f"{cls.__name__} ({version})"
    # A cell of a notebook that was run again, or a function, defines another class of the same name.
    is_current = getattr(module, cls.__name__, None) is cls
    return cls.__name__ if is_current else f"{cls.__name__} ({id(cls):x})"


def subclasses_of(base_class: type, own: Collection[type] = ()) -> list[type]:
    """Returns the subclasses of a base class that lab10 defines, abstract ones included, and those of `own`."""
    import_all()
    built_in = [cls for cls in dict.fromkeys(all_subclasses(base_class)) if is_built_in(cls)]
    return [*built_in, *(cls for cls in own if issubclass(cls, base_class))]


def all_subclasses(base_class: type) -> Iterator[type]:
    """Yields the subclasses of a class in this process, direct and indirect; some more than once."""
    subclasses: list[type] = type.__subclasses__(base_class)
    for subclass in subclasses:
        yield subclass
        yield from all_subclasses(subclass)


def components_of(base_class: type, own: Collection[type] = ()) -> dict[str, type]:
    """Returns all concrete subclasses of a base class, direct and indirect, by class name.

    Args:
      base_class: the base class.
      own: classes outside lab10 to include if they are subclasses.
    """
    return {cls.__name__: cls for cls in subclasses_of(base_class, own) if not inspect.isabstract(cls)}


def find_component(base_class: type, name: str, own: Collection[type] = ()) -> type:
    """Returns the concrete subclass of `base_class` with the given class name, ignoring case.

    Raises:
      UserError: there is no such subclass; the message suggests the closest name.
    """
    components = {cls.__name__.casefold(): cls for cls in components_of(base_class, own).values()}
    if name.casefold() in components:
        return components[name.casefold()]
    names = ", ".join(sorted(cls.__name__ for cls in components.values()))
    raise UserError(
        f"There is no {base_class.__name__} {name!r}{closest(name.casefold(), components)} Expected one of: {names}."
    )


def closest(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error's sentence: `; did you mean 'x'?`, or a period if no known name is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else "."
