"""Classifies texts: those given, or the lines of standard input where none is given."""

import os
import sys
from typing import Any

from lab10.cli.arguments import data_fields, run_parser
from lab10.cli.console import console
from lab10.cli.script import run_script


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = run_parser(__doc__)
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="a text (after -- if one begins with a dash); without any, standard input is read, a text a line",
    )
    args = parser.parse_intermixed_args(arguments)

    from lab10.inspection import TextRun, load

    run = load(args.directory, args.checkpoint, **data_fields(args))
    if not isinstance(run, TextRun):
        raise run.cannot("classify texts")
    if not args.texts and sys.stdin.isatty():
        console.print("Type a text a line; Ctrl-D ends.")
    # As bytes, which any argument is, UTF-8 or not.
    texts = [os.fsencode(text) for text in args.texts] or [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
    predictions = run.predict(texts)
    lines = [
        f"{p['label']} {p['probability']:.3f}  {p['text'][:200]}{'…' if len(p['text']) > 200 else ''}"
        for p in predictions
    ]
    return {"predictions": predictions}, "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
