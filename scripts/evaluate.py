"""Evaluates a checkpoint of a run on a split; writes each example's prediction or error to the workdir."""

from lab10.cli.arguments import add_split, data_overrides, run_parser
from lab10.cli.script import ScriptResult, run_script


def main(arguments: list[str]) -> ScriptResult:
    parser = run_parser(__doc__)
    add_split(parser)
    parser.add_argument(
        "--data.overlong",
        dest="data.overlong",
        choices=("drop", "truncate"),
        help="treatment of texts longer than --data.max-length (default: as in training)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="METRIC",
        help="additional metrics of the split, such as f1, auc, precision, confusion_matrix (docs/metrics.md)",
    )
    args = parser.parse_args(arguments)

    from lab10.inspection.load import load
    from lab10.metrics.result_text import result_text

    result = load(args.directory, args.checkpoint, **data_overrides(args)).evaluate(args.split, args.metrics)
    text = result_text(result)
    if result["per_example"]:
        text += (
            f"\nEvaluations of {args.split} in this workdir so far: {result['read_count']}. "
            f"Values of each example: {result['per_example']}"
        )
    return result, text


if __name__ == "__main__":
    run_script(main)
