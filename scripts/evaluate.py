"""Evaluates a checkpoint of a run on a split, and writes each example's prediction or error into the workdir."""

from typing import Any

from lab10.arguments import add_split, run_parser
from lab10.cli import describe, run_script


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = run_parser(__doc__)
    add_split(parser)
    args = parser.parse_args(arguments)

    from lab10.inspection import load

    result = load(args.directory, args.checkpoint).evaluate(args.split)
    metrics = {name: value for name, value in result.items() if isinstance(value, float)}
    text = (
        f"{args.split}, {result['examples']} examples, step {result['step']}: {describe(metrics)}\n"
        f"Read {result['read_count']} time(s) in this workdir. Each example: {result['per_example']}"
    )
    return result, text


if __name__ == "__main__":
    run_script(main)
