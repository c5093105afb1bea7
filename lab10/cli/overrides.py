"""Sets the fields of an experiment from the command line; suggests the closest name on a typo."""

import contextlib
import dataclasses
import io
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from lab10.cli.option_errors import component_options, option_error
from lab10.config.errors import UserError
from lab10.config.experiment import BASE_CLASSES, Experiment, user_component_classes
from lab10.config.fields import option, walk
from lab10.config.paths import path_of
from lab10.config.plain_values import with_plain_values
from lab10.config.registry import closest, components_of, find_component
from lab10.config.user_modules import import_file
from lab10.metrics.split_metric import SplitMetric, find_split_metric
from lab10.parallel.distributed import Distributed

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


class ExperimentFile(NamedTuple):
    """An experiment file that was run.

    Attributes:
      experiment: the experiment that it defines.
      name: the name of the file, without `.py`.
      user_classes: the component classes that it defines.
    """

    experiment: Experiment
    name: str
    user_classes: tuple[type, ...]


def load_experiment_file(name: str) -> ExperimentFile:
    """Runs an experiment file.

    Args:
      name: the name of a file in experiments/, without `.py`, or a path that ends in `.py`.

    Raises:
      UserError: there is no such file, in which case the message suggests the closest name; or the file fails to run,
        defines no experiment, or has a component with the name of another.
    """
    path = path_of(name if name.endswith(".py") else EXPERIMENTS / f"{name}.py")
    if not path.is_file():
        known = _experiment_names()
        raise UserError(
            f"There is no experiment {name!r}{closest(name, known)} "
            f"Expected a path to a .py file or one of: {', '.join(known)}."
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    executed = import_file(path, source)
    experiment = getattr(executed.module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise UserError(f"{path} defines no experiment; expected `experiment = Experiment(…)`.")
    return ExperimentFile(with_plain_values(experiment), path.stem, executed.classes)


def load_experiment(name: str) -> Experiment:
    """Runs an experiment file like `load_experiment_file`, and returns the experiment."""
    return load_experiment_file(name).experiment


def _experiment_names() -> list[str]:
    return sorted(path.stem for path in EXPERIMENTS.glob("*.py"))


class TrainingCommand(NamedTuple):
    """A parsed training command: what to run, in which workdir, and on which processes."""

    experiment: Experiment
    workdir: str
    distributed: Distributed


def parse_training_arguments(arguments: list[str]) -> TrainingCommand:
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
    file = load_experiment_file(arguments[0])
    return apply_overrides(file.experiment, file.name, arguments[1:], file.user_classes)


def apply_overrides(
    default: Experiment, name: str, arguments: list[str], own: Collection[type] = ()
) -> TrainingCommand:
    """Applies command-line arguments to an experiment.

    An option such as `--optimizer adam` or `--data.transform gaussiannoise` replaces a component by one of another
    type. Other options, before or after it, set the fields of the new component.

    Args:
      default: the experiment that the arguments change.
      name: its name, from which the default workdir is made.
      arguments: the command line after the experiment's name.
      own: component classes outside lab10 that the arguments may name, besides those of the experiment.

    Raises:
      UserError: a field or component does not exist, or a value is invalid.
    """
    arguments = [
        part.replace("_", "-") if re.fullmatch(r"--[\w.-]+", part) else part
        for argument in arguments
        for part in (argument.split("=", 1) if re.match(r"--[\w.-]+=", argument) else [argument])
    ]
    default = _replace_duration(default, arguments)
    own = list(dict.fromkeys([*own, *user_component_classes(default)]))
    default, arguments = _replace_components(default, arguments, own)
    arguments = _normalize_booleans({"": default, "distributed.": Distributed()}, arguments)
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
    choices = "\n".join(f"  {flag} {'|'.join(components_of(base, own))}" for flag, base in component_options(default))
    with_workdir.__doc__ = (
        f"Trains {name}. Run the same command again to resume from the last checkpoint.\n\n"
        f"Options that replace a component by another, whose fields can then be set:\n{choices}"
    )
    if "--workdir" in arguments[-1:] or "" in arguments:
        raise UserError("An option has no value; give --workdir a folder and every other option a value.")
    parsed = _parse(with_workdir, with_workdir(experiment=default), arguments, f"train.py {name}", own)
    return TrainingCommand(parsed.experiment, parsed.workdir, parsed.distributed)


def _replace_duration(default: Experiment, arguments: list[str]) -> Experiment:
    """Clears the default of `--epochs` if `--steps` is given, and vice versa."""
    if "--steps" in arguments and "--epochs" in arguments:
        raise UserError("Exactly one of --epochs and --steps must be given.")
    if "--steps" in arguments:
        return dataclasses.replace(default, epochs=None, steps=1)
    if "--epochs" in arguments:
        return dataclasses.replace(default, epochs=1, steps=None)
    return default


def _replace_components(
    config: Any, arguments: list[str], own: Collection[type], prefix: str = ""
) -> tuple[Any, list[str]]:
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
                raise UserError(f"{flag} needs a value; expected one of: {', '.join(components_of(base_class, own))}.")
            cls = find_component(base_class, arguments[i + 1], own)
            if type(component) is not cls:
                shared = {f.name: getattr(component, f.name) for f in dataclasses.fields(base_class) if f.init}
                component = cls(**shared)
            arguments = arguments[:i] + arguments[i + 2 :]
        component, arguments = _replace_components(component, arguments, own, f"{prefix}{field.name}.")
        config = dataclasses.replace(config, **{field.name: component})
    return config, arguments


_TRUTH_VALUES = {"true": True, "1": True, "false": False, "0": False}


def _normalize_booleans(configs: dict[str, Any], arguments: list[str]) -> list[str]:
    """Spells the options of boolean fields as tyro reads them; also accepts `--x True`, `true`, `1`, and so on.

    tyro reads `--a.x` and `--a.no-x` for a `bool`, and `--a.x True`, `False` or `None` for a `bool | None`.

    Args:
      configs: configs by the prefix of their options.
      arguments: the command line.

    Raises:
      UserError: the value of a boolean field is none of these.
    """
    flags = {
        negative: (path, is_optional, negative != option(path))
        for prefix, config in configs.items()
        for path, is_optional in _boolean_fields(config, prefix)
        for negative in (option(path), _negative_option(path), f"--no-{option(path)[2:]}")
    }
    spelled, i = [], 0
    while i < len(arguments):
        argument = arguments[i]
        i += 1
        if argument not in flags:
            spelled.append(argument)
            continue
        path, is_optional, is_negative = flags[argument]
        value: bool | None = True
        if i < len(arguments) and not arguments[i].startswith("--"):
            word = arguments[i].lower()
            i += 1
            if word not in _TRUTH_VALUES and not (is_optional and word == "none"):
                expected = "True, False or None" if is_optional else "True or False"
                raise UserError(f"{argument} is {word!r}; expected {expected}.")
            value = _TRUTH_VALUES.get(word)
        if value is not None:
            value = value != is_negative
        if is_optional:
            spelled += [option(path), str(value)]
        else:
            spelled.append(option(path) if value else _negative_option(path))
    return spelled


def _boolean_fields(config: Any, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yields the path of every boolean field of a nested config, and whether it can be None."""
    return (
        (path, field.type is not bool) for path, field, _ in walk(config, prefix) if field.type in (bool, bool | None)
    )


def _negative_option(path: str) -> str:
    """Returns tyro's option that sets a boolean field to False: `--mesh.no-shard-optimizer`."""
    prefix, _, name = option(path)[2:].rpartition(".")
    return f"--{prefix}.no-{name}" if prefix else f"--no-{name}"


def _parse(cls: type, default: Any, arguments: list[str], program: str, own: Collection[type]) -> Any:
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
                registry=_registry(own),
            )
    except SystemExit as error:
        if not error.code:
            raise
        # Keep the plain text, without tyro's frame, rules and headings.
        lines = [re.sub(r"^[─╭╮│╰╯ ]+|[─╭╮│╰╯ ]+$", "", line) for line in stderr.getvalue().splitlines()]
        message = [line for line in lines if not re.fullmatch(r"-*|Argument helptext:|For full helptext.*", line)]
        message_text = option_error("\n".join(message[:8]), arguments, default.experiment, own)
        raise UserError(f"{message_text}\nSee {program} --help.") from None


def _registry(own: Collection[type]) -> ConstructorRegistry:
    """Lets tyro read metrics of a whole split by name: `--metrics f1 auc`."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if type_info.type != tuple[SplitMetric, ...]:
            return None
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar="[METRIC [METRIC ...]]",
            instance_from_str=lambda names: tuple(find_split_metric(name, own) for name in names),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda metrics: [metric.name for metric in metrics],
        )

    return registry
