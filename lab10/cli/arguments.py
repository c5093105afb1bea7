"""Argument parsing for the scripts that read a run: argparse, with invalid arguments raised as a UserError."""

import argparse
from typing import Any, NoReturn

from lab10.config.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises a UserError, with the usage, instead of exiting."""

    def __init__(self, description: str | None, **options: Any):
        super().__init__(description=description, allow_abbrev=False, **options)
        self.epilog = "--json prints the result as one JSON object."

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}\n{self.format_usage().strip()}")


def run_parser(description: str | None) -> Parser:
    """Returns a parser with the arguments that every script for one run has: workdir, checkpoint and data folders."""
    parser = Parser(description)
    parser.add_argument("directory", metavar="DIR", help="workdir of the run")
    add_checkpoint(parser)
    return parser


def add_checkpoint(parser: Parser) -> None:
    """Adds `--checkpoint`, `--trust`, and the `--data.…` options that locate the datasets and the cache."""
    parser.add_argument(
        "--checkpoint", default="best", metavar="best|latest|STEP", help="checkpoint to restore (default: best)"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the code in the workdir that defines the run's own model or components",
    )
    parser.add_argument(
        "--data.dir", metavar="DIR", help="folder of the prepared TFDS datasets (default: as in training)"
    )
    parser.add_argument(
        "--data.cache-dir",
        dest="data.cache_dir",
        metavar="DIR",
        help="folder for cached arrays (default: $LAB10_CACHE_DIR, else ~/.cache/lab10)",
    )


def data_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Returns `--trust` and the given `--data.FIELD` options as keyword arguments for `lab10.load`."""
    return {"trust": args.trust} | {
        name.removeprefix("data."): value
        for name, value in vars(args).items()
        if name.startswith("data.") and value is not None
    }


def add_split(parser: Parser, default: str = "test", choices: tuple[str, ...] | None = None) -> None:
    """Adds `--split`, for any split unless there are `choices`, and `--data.test-split`."""
    other = (
        ""
        if choices
        else ", or another TFDS split, such as unsupervised, test[:10%%] or, for TFDS's own, validation[0:]"
    )
    parser.add_argument(
        "--split",
        default=default,
        choices=choices,
        metavar=None if choices else "SPLIT",
        help=f"{', '.join(choices or ('train', 'validation', 'test'))} of this run{other} (default: {default})",
    )
    parser.add_argument(
        "--data.test-split",
        dest="data.test_split",
        metavar="SPLIT",
        help="TFDS split for testing (default: as in training)",
    )
