"""Arguments of the scripts that read a run: argparse, with mistakes as a UserError."""

import argparse
from typing import Any, NoReturn

from lab10.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are answered like all others."""

    def __init__(self, description: str | None, **options: Any):
        super().__init__(description=description, allow_abbrev=False, **options)
        self.epilog = "--json prints the result as one JSON object."

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}\n{self.format_usage().strip()}")


def run_parser(description: str | None) -> Parser:
    """A parser with what every inspection of one run takes: the workdir and the checkpoint."""
    parser = Parser(description)
    parser.add_argument("directory", metavar="DIR", help="the run's workdir")
    add_checkpoint(parser)
    return parser


def add_checkpoint(parser: Parser) -> None:
    """Adds the checkpoint to read, and where its data are."""
    parser.add_argument(
        "--checkpoint", default="best", metavar="best|latest|STEP", help="the checkpoint to restore (default: best)"
    )
    parser.add_argument(
        "--data.dir", metavar="DIR", help="where TFDS datasets lie prepared, if not where the run found them"
    )
    parser.add_argument(
        "--data.cache-dir",
        dest="data.cache_dir",
        metavar="DIR",
        help="where arrays are cached (default: $LAB10_CACHE_DIR, else ~/.cache/lab10)",
    )


def data_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The given `--data.FIELD` options, as `lab10.load` takes them."""
    return {
        name.removeprefix("data."): value
        for name, value in vars(args).items()
        if name.startswith("data.") and value is not None
    }


def add_split(
    parser: Parser, default: str = "test", choices: tuple[str, ...] = ("train", "validation", "test")
) -> None:
    """Adds `--split`."""
    parser.add_argument("--split", default=default, choices=choices, help=f"the split to read (default: {default})")
