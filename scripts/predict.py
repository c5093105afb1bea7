"""Classifies texts: those given, or the lines of standard input where none is given."""

import sys
from typing import Any

from lab10.arguments import data_fields, run_parser
from lab10.cli import console, run_script


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = run_parser(__doc__)
    parser.add_argument(
        "texts", metavar="TEXT", nargs="*", help="a text; standard input is read where none is given, a text a line"
    )
    args = parser.parse_args(arguments)

    from lab10.inspection import ReviewsRun, load

    run = load(args.directory, args.checkpoint, **data_fields(args))
    if not isinstance(run, ReviewsRun):
        raise run.cannot("classify texts")
    if not args.texts and sys.stdin.isatty():
        console.print("Type a text a line; Ctrl-D ends.")
    texts = args.texts or [line.rstrip(b"\r\n") for line in sys.stdin.buffer]
    predictions = run.predict(texts)
    lines = [
        f"{p['label']} {p['probability']:.3f}  {p['text'][:200]}{'…' if len(p['text']) > 200 else ''}"
        for p in predictions
    ]
    return {"predictions": predictions}, "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
