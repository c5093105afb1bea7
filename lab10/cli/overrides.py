"""Sets the fields of an experiment from the command line; suggests the closest name on a typo."""

import contextlib
import dataclasses
import importlib.util
import io
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from lab10.config.experiment import BASE_CLASSES, Experiment
from lab10.config.fields import option
from lab10.config.paths import path_of
from lab10.config.registry import closest, components_of, find_component
from lab10.errors import UserError
from lab10.parallel.distributed import Distributed

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def load_experiment(name: str) -> tuple[Experiment, str]:
    """Loads an experiment file and returns the experiment and its name.

    Args:
      name: the name of a file in experiments/, without `.py`, or a path that ends in `.py`.

    Raises:
      UserError: there is no such file, in which case the message suggests the closest name; or the file fails to run
        or defines no experiment.
    """
    path = path_of(name if name.endswith(".py") else EXPERIMENTS / f"{name}.py")
    if not path.is_file():
        known = _experiment_names()
        raise UserError(
            f"There is no experiment {name!r}{closest(name, known)} "
            f"Expected a path to a .py file or one of: {', '.join(known)}."
        )
    spec = importlib.util.spec_from_file_location(f"experiments.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise UserError(f"{path}, line {lines[-1] if lines else '?'}: {type(error).__name__}: {error}") from error
    if not isinstance(getattr(module, "experiment", None), Experiment):
        raise UserError(f"{path} defines no experiment; expected `experiment = Experiment(…)`.")
    return module.experiment, path.stem


def _experiment_names() -> list[str]:
    return sorted(path.stem for path in EXPERIMENTS.glob("*.py"))


class Launch(NamedTuple):
    """A parsed training command: what to run, in which workdir, and on which processes."""

    experiment: Experiment
    workdir: str
    distributed: Distributed


def parse_training_arguments(arguments: list[str]) -> Launch:
    """Parses `EXPERIMENT [--workdir DIR] [--FIELD VALUE …]`.

    Raises:
      UserError: the experiment or a field does not exist, or a value is invalid.
    """
    if not arguments or arguments[0].startswith("-"):
        known = ", ".join(_experiment_names())
        usage = (
            "usage: train.py EXPERIMENT [--workdir DIR] [--FIELD VALUE …] [--json]\n\n"
            f"EXPERIMENT is a path to a .py file or one of: {known}."
        )
        if arguments[:1] in (["--help"], ["-h"]):
            print(f"{usage}\n`train.py EXPERIMENT --help` lists every field.")
            sys.exit(0)
        raise UserError(usage)
    default, name = load_experiment(arguments[0])
    return apply_overrides(default, name, arguments[1:])


def apply_overrides(default: Experiment, name: str, arguments: list[str]) -> Launch:
    """Applies command-line arguments to an experiment.

    An option such as `--optimizer adam` or `--data.transform gaussiannoise` replaces a component by one of another
    type. Other options, before or after it, set the fields of the new component.

    Args:
      default: the experiment that the arguments change.
      name: its name, from which the default workdir is made.
      arguments: the command line after the experiment's name.

    Raises:
      UserError: a field or component does not exist, or a value is invalid.
    """
    arguments = [
        re.sub("_", "-", argument) if re.fullmatch(r"--[\w.-]+", argument) else argument for argument in arguments
    ]
    arguments = [
        part
        for argument in arguments
        for part in (argument.split("=", 1) if re.match(r"--[\w.-]+=", argument) else [argument])
    ]
    default = _replace_duration(default, arguments)
    default, arguments = _replace_components(default, arguments)
    with_workdir = dataclasses.make_dataclass(
        "Arguments",
        [
            ("experiment", Annotated[Experiment, tyro.conf.arg(name="")]),
            ("workdir", str, dataclasses.field(default=f"runs/{name}")),
            ("distributed", Distributed, dataclasses.field(default=Distributed())),
        ],
        frozen=True,
        kw_only=True,
    )
    choices = "\n".join(f"  {flag} {'|'.join(components_of(base))}" for flag, base in _component_options(default))
    with_workdir.__doc__ = (
        f"Trains {name}. Run the same command again to resume from the last checkpoint.\n\n"
        f"Options that replace a component by another, whose fields can then be set:\n{choices}"
    )
    if "--workdir" in arguments[-1:] or "" in arguments:
        raise UserError("An option has no value; give --workdir a folder and every other option a value.")
    parsed = _parse(with_workdir, with_workdir(experiment=default), arguments, f"train.py {name}")
    return Launch(parsed.experiment, parsed.workdir, parsed.distributed)


def _replace_duration(default: Experiment, arguments: list[str]) -> Experiment:
    """Clears the default of `--epochs` if `--steps` is given, and vice versa."""
    if "--steps" in arguments and "--epochs" in arguments:
        raise UserError("Exactly one of --epochs and --steps must be given.")
    if "--steps" in arguments:
        return dataclasses.replace(default, epochs=None, steps=1)
    if "--epochs" in arguments:
        return dataclasses.replace(default, epochs=1, steps=None)
    return default


def _component_options(config: Any, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Yields the option of every component of a config, and the component's base class."""
    for field in dataclasses.fields(config):
        if field.type in BASE_CLASSES:
            yield option(prefix + field.name), field.type
            yield from _component_options(getattr(config, field.name), f"{prefix}{field.name}.")


def _replace_components(config: Any, arguments: list[str], prefix: str = "") -> tuple[Any, list[str]]:
    """Replaces the components that the arguments name; returns the new config and the remaining arguments.

    A new component keeps the values of the fields that its base class declares.
    """
    for field in dataclasses.fields(config):
        base_class = field.type
        if base_class not in BASE_CLASSES:
            continue
        flag, component = option(prefix + field.name), getattr(config, field.name)
        while flag in arguments:
            i = arguments.index(flag)
            if i + 1 == len(arguments):
                raise UserError(f"{flag} needs a value; expected one of: {', '.join(components_of(base_class))}.")
            cls = find_component(base_class, arguments[i + 1])
            if type(component) is not cls:
                shared = {f.name: getattr(component, f.name) for f in dataclasses.fields(base_class) if f.init}
                component = cls(**shared)
            arguments = arguments[:i] + arguments[i + 2 :]
        component, arguments = _replace_components(component, arguments, f"{prefix}{field.name}.")
        config = dataclasses.replace(config, **{field.name: component})
    return config, arguments


def _parse(cls: type, default: Any, arguments: list[str], program: str) -> Any:
    """Parses arguments with tyro; raises its error messages as a UserError of a few plain lines."""
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return tyro.cli(
                cls,
                default=default,
                args=arguments,
                prog=program,
                config=(tyro.conf.AvoidSubcommands, tyro.conf.HelptextFromCommentsOff),
            )
    except SystemExit as error:
        if not error.code:
            raise
        # Keep the plain text, without tyro's frame, rules and headings.
        lines = [re.sub(r"^[─╭╮│╰╯ ]+|[─╭╮│╰╯ ]+$", "", line) for line in stderr.getvalue().splitlines()]
        message = [line for line in lines if not re.fullmatch(r"-*|Argument helptext:|For full helptext.*", line)]
        raise UserError("\n".join([*message[:8], f"See {program} --help."])) from None
