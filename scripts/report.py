"""Writes an HTML report on one run or a comparison of several runs, and each figure as a PNG file."""

from pathlib import Path

from lab10.cli.arguments import Parser, add_checkpoint, add_split, data_overrides
from lab10.cli.script import ScriptResult, run_script


def main(arguments: list[str]) -> ScriptResult:
    parser = Parser(__doc__)
    parser.add_argument(
        "directories", metavar="DIR", nargs="+", help="workdirs; runs that differ only in the seed are grouped"
    )
    add_checkpoint(parser)
    # The default is not test: whatever is chosen after looking at the test split was chosen on it.
    add_split(parser, default="validation", choices=("validation", "test"))
    parser.add_argument(
        "--output",
        type=Path,
        metavar="HTML",
        help="HTML file to write; figures go to a folder of the same name next to the file "
        "(default: report-SPLIT.html, in DIR for a single run, else in the current directory)",
    )
    args = parser.parse_args(arguments)

    from lab10.inspection.report import write_report

    folder = Path(args.directories[0]) if len(args.directories) == 1 else Path()
    output = args.output or folder.expanduser() / f"report-{args.split}.html"
    result = write_report(args.directories, output, args.split, args.checkpoint, **data_overrides(args))
    return result, f"{output}: {len(result['runs'])} run(s), {len(result['figures'])} figures next to it"


if __name__ == "__main__":
    run_script(main)
