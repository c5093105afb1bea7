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
    """A parser with what every inspection takes: the workdir and the checkpoint."""
    parser = Parser(description)
    parser.add_argument("directory", metavar="DIR", help="the run's workdir")
    parser.add_argument("--checkpoint", default="best", metavar="best|latest|STEP", help="the checkpoint to restore (default: best)")
    return parser


def add_split(parser: Parser) -> None:
    """Adds `--split`."""
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"), help="the split to read (default: test)")
