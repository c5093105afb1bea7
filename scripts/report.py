"""Writes one HTML page on a run, or on the comparison of several, and each of its figures as a PNG file."""

from pathlib import Path
from typing import Any

from lab10.cli.arguments import Parser, add_checkpoint, add_split, data_fields
from lab10.cli.script import run_script


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = Parser(__doc__)
    parser.add_argument(
        "directories", metavar="DIR", nargs="+", help="workdirs; those that differ in seeds alone are shown together"
    )
    add_checkpoint(parser)
    # What is chosen after looking at the test split has been chosen on it.
    add_split(parser, default="validation", choices=("validation", "test"))
    parser.add_argument(
        "--output",
        type=Path,
        metavar="HTML",
        help="the page; figures go to a folder of its name beside it "
        "(default: report-SPLIT.html, in DIR where there is one, else in the current directory)",
    )
    args = parser.parse_args(arguments)

    from lab10.report import write_report

    folder = Path(args.directories[0]) if len(args.directories) == 1 else Path()
    output = args.output or folder.expanduser() / f"report-{args.split}.html"
    result = write_report(args.directories, output, args.split, args.checkpoint, **data_fields(args))
    return result, f"{output}: {len(result['runs'])} run(s), {len(result['figures'])} figures beside it"


if __name__ == "__main__":
    run_script(main)
