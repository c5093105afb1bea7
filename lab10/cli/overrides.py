"""The command line as changes to an experiment: every field by name, typed, the closest named on a typo."""

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
    """Loads the experiment in a file of experiments/, or at a path, and returns it with its name.

    Raises:
      UserError: there is no such page; names the closest.
    """
    path = path_of(name if name.endswith(".py") else EXPERIMENTS / f"{name}.py")
    if not path.is_file():
        known = sorted(page.stem for page in EXPERIMENTS.glob("*.py"))
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


class Launch(NamedTuple):
    """A parsed training command: the experiment, the workdir, and the settings for several processes."""

    experiment: Experiment
    workdir: str
    distributed: Distributed


def parse_training_arguments(arguments: list[str]) -> Launch:
    """`EXPERIMENT [--workdir DIR] [--FIELD VALUE …]`.

    Raises:
      UserError: a name, a field or a value that does not exist or fit.
    """
    if not arguments or arguments[0].startswith("-"):
        known = ", ".join(sorted(page.stem for page in EXPERIMENTS.glob("*.py")))
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
    """Sets fields of an experiment from command-line arguments.

    Besides typed fields, `--optimizer adam` or `--data.transform gaussiannoise` choose another kind
    for a part, whose fields the arguments after and before it then set.
    """
    arguments = [
        re.sub("_", "-", argument) if re.fullmatch(r"--[\w.-]+", argument) else argument for argument in arguments
    ]
    arguments = [
        part
        for argument in arguments
        for part in (argument.split("=", 1) if re.match(r"--[\w.-]+=", argument) else [argument])
    ]
    default = _displace_duration(default, arguments)
    default, arguments = _choose_kinds(default, arguments)
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
    choices = "\n".join(f"  {flag} {'|'.join(components_of(family))}" for flag, family in _parts(default))
    with_workdir.__doc__ = (
        f"Trains {name}. Run the same command again to resume from the last checkpoint.\n\n"
        f"Components that can be chosen by name, after which their own fields can be set:\n{choices}"
    )
    if "--workdir" in arguments[-1:] or "" in arguments:
        raise UserError("An option's value is empty; give --workdir a folder's name and every field a value.")
    parsed = _parse(with_workdir, with_workdir(experiment=default), arguments, f"train.py {name}")
    return Launch(parsed.experiment, parsed.workdir, parsed.distributed)


def _displace_duration(default: Experiment, arguments: list[str]) -> Experiment:
    """`--steps` alone takes away the default of `--epochs`, and the other way round."""
    if "--steps" in arguments and "--epochs" in arguments:
        raise UserError("Exactly one of --epochs and --steps must be given.")
    if "--steps" in arguments:
        return dataclasses.replace(default, epochs=None, steps=1)
    if "--epochs" in arguments:
        return dataclasses.replace(default, epochs=1, steps=None)
    return default


def _parts(config: Any, prefix: str = "") -> Iterator[tuple[str, type]]:
    """The options of the parts of a config that come in kinds, and their families."""
    for field in dataclasses.fields(config):
        if field.type in BASE_CLASSES:
            yield option(prefix + field.name), field.type
            yield from _parts(getattr(config, field.name), f"{prefix}{field.name}.")


def _choose_kinds(config: Any, arguments: list[str], prefix: str = "") -> tuple[Any, list[str]]:
    """Replaces parts whose kind the arguments choose; returns the arguments that are left."""
    for field in dataclasses.fields(config):
        family = field.type
        if family not in BASE_CLASSES:
            continue
        flag, part = option(prefix + field.name), getattr(config, field.name)
        while flag in arguments:
            index = arguments.index(flag)
            if index + 1 == len(arguments):
                raise UserError(f"{flag} needs a value: the name of a kind.")
            kind = find_component(family, arguments[index + 1])
            shared = {f.name: getattr(part, f.name) for f in dataclasses.fields(family) if f.init}
            part = part if type(part) is kind else kind(**shared)
            arguments = arguments[:index] + arguments[index + 2 :]
        part, arguments = _choose_kinds(part, arguments, f"{prefix}{field.name}.")
        config = dataclasses.replace(config, **{field.name: part})
    return config, arguments


def _parse(cls: type, default: Any, arguments: list[str], program: str) -> Any:
    """tyro, with its messages as a UserError of a few plain lines."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
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
        # Plain text: without the frame that tyro draws around it, its rules and its headings.
        lines = [re.sub(r"^[─╭╮│╰╯ ]+|[─╭╮│╰╯ ]+$", "", line) for line in said.getvalue().splitlines()]
        kept = [line for line in lines if not re.fullmatch(r"-*|Argument helptext:|For full helptext.*", line)]
        raise UserError("\n".join([*kept[:8], f"See {program} --help."])) from None
