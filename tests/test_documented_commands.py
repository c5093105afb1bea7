"""Every command in the documentation names a script, a module or a target that exists, and options that it has."""

import configparser
import contextlib
import functools
import importlib.util
import io
import re
import shlex
import sys
from pathlib import Path

import pytest
from scripts_runner import _module

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(?:\.venv/bin/)?python (scripts/\w+\.py|-m [\w.]+)((?: [^`\n|]*(?:\\\n[^`\n|]*)*)?)")
# What stands for an experiment.
PLACEHOLDERS = ("NAME", "EXPERIMENT", "my_experiment", "…")


def commands():
    """Yields each documented command: where it is, the script or module, and its arguments."""
    for page in PAGES:
        for found in COMMAND.finditer(page.read_text()):
            arguments = found[2].replace("\\\n", " ").split("#")[0]
            with contextlib.suppress(ValueError):  # an apostrophe of the sentence around it
                arguments = shlex.split(arguments)
            if isinstance(arguments, str):
                arguments = arguments.split()
            yield pytest.param(found[1], arguments, id=f"{page.name}: {found[1]} {' '.join(arguments)[:60]}")


@functools.cache
def help_of(script, *arguments):
    """What a script prints with --help after these arguments."""
    module, said = _module(script), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr(sys, "argv", [f"scripts/{script}.py"])
        with pytest.raises(SystemExit) as stop:
            module.main([*arguments, "--help"])
    assert not stop.value.code
    return said.getvalue()


@pytest.mark.parametrize(("program", "arguments"), list(commands()))
def test_a_documented_command_exists_with_its_options(program, arguments):
    if program.startswith("-m "):
        module = program.removeprefix("-m ")
        assert module == "pytest" or importlib.util.find_spec(module) is not None
        return
    assert (ROOT / program).is_file()
    script = Path(program).stem
    options = {
        re.sub(r"[=:,.;)…]+.*$|_", lambda found: "-" if found[0] == "_" else "", part.rstrip(".,;:)"))
        for part in arguments
        if re.match(r"--\w", part)
    } - {"--json", "--help", "--FIELD"}
    if script in ("train", "sweep") and arguments and arguments[0].endswith(".py"):
        # A reader's own file, whose classes may have fields of their own.
        arguments = ["mnist_pca", *arguments[1:]]
        options = {option for option in options if "." not in option}
    if script in ("train", "sweep") and arguments and arguments[0] not in PLACEHOLDERS:
        assert (ROOT / "experiments" / f"{arguments[0]}.py").is_file() or arguments[0].startswith("-")
    if not options:
        return
    experiment = arguments[0] if arguments[0] not in PLACEHOLDERS else "mnist_pca"
    mode = [experiment] if script == "train" else sorted(options & {"--device"})
    known = help_of(script, *mode)
    if script in ("sweep", "compile"):  # any other option is one of train.py
        known += help_of("train", experiment)
    missing = [option for option in options if not re.search(re.escape(option) + r"(?![\w-])", known)]
    assert not missing


def test_documented_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets, page.name


def extras():
    """The requirements of each optional installation, by its name."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return dict(config["options.extras_require"])


def test_documented_extras_exist():
    """Those of the documentation, and those that messages name: `pip install -e '.[prepare]'`, `lab10[prepare]`."""
    texts = [path.read_text() for path in [*PAGES, *(ROOT / "lab10").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]]
    named = {
        name
        for text in texts
        for names in re.findall(r"(?:'\.|lab10)\[([a-z,-]+)\]", text)
        for name in names.split(",")
    }
    assert {"cuda", "gpu-compiler", "notebook", "postgresql", "prepare", "tensorboard", "tpu"} <= named <= set(extras())


def test_the_extra_of_a_documented_program_installs_it():
    """The README starts these programs, which an installation without the extra lacks."""
    for program, package in {"tensorboard": "tensorboard", "notebook": "nbconvert"}.items():
        requirements = re.findall(r"^[\w-]+", extras()[program], re.MULTILINE)
        assert package in requirements
