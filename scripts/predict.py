"""Classifies the given texts, or each line of standard input if no text is given."""

import os
import sys
from typing import Any

from lab10.cli.arguments import data_overrides, run_parser
from lab10.cli.console import console
from lab10.cli.script import run_script


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = run_parser(__doc__)
    parser.add_argument(
        "texts",
        metavar="TEXT",
        nargs="*",
        help="text to classify, after -- if it begins with a dash (default: one text per line of standard input)",
    )
    args = parser.parse_intermixed_args(arguments)

    from lab10.inspection import TextRun, load

    run = load(args.directory, args.checkpoint, **data_overrides(args))
    if not isinstance(run, TextRun):
        raise run.unsupported("classify texts")
    if not args.texts and sys.stdin.isatty():
        console.print("Type one text per line, then Ctrl-D.")
    # As bytes, because an argument need not be valid UTF-8.
    texts = [os.fsencode(text) for text in args.texts] or [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
    predictions = run.predict(texts)
    lines = [
        f"{p['label']} {p['probability']:.3f}  {p['text'][:200]}{'…' if len(p['text']) > 200 else ''}"
        for p in predictions
    ]
    return {"predictions": predictions}, "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
