"""Prepares datasets: TFDS's own, from a download or local files, or a new one from your files.

TFDS datasets: `python scripts/prepare_data.py mnist imdb_reviews`.
Your files: `python scripts/prepare_data.py NAME --from FILE`; docs/your_data.md describes the options.
"""

import argparse
from pathlib import Path
from typing import Any

from lab10.cli.arguments import Parser
from lab10.cli.script import ScriptResult, run_script
from lab10.config.errors import UserError


def main(arguments: list[str]) -> ScriptResult:
    args = _parser().parse_args(arguments)
    if args.sources is None:
        _refuse_user_file_options(args)
        from lab10.data.preparation import prepare

        prepared = {name: str(prepare(name, args.data_dir, args.manual_dir)) for name in args.names}
        return {"prepared": prepared}, "\n".join(f"{name}: {folder}" for name, folder in prepared.items())
    if len(args.names) > 1:
        raise UserError(f"--from prepares one dataset, but there are {len(args.names)} names: {', '.join(args.names)}.")
    if args.manual_dir is not None:
        raise UserError(
            "--manual-dir has the original files of TFDS's datasets, --from has your files; use one of them."
        )

    from lab10.data.sources import data_root
    from lab10.data.user_files.dataset_summary import summary_text
    from lab10.data.user_files.options import PrepareOptions
    from lab10.data.user_files.prepare import prepare_user_files
    from lab10.data.user_files.writer import Destination

    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(args).items()
        if name in PrepareOptions.__dataclass_fields__
    }
    (name,) = args.names
    summary = prepare_user_files(
        args.sources, PrepareOptions(**given), Destination(name, data_root(args.data_dir), args.overwrite)
    )
    return {"prepared": {name: summary["folder"]}, "datasets": {name: summary}}, summary_text(summary)


def _parser() -> Parser:
    parser = Parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="TFDS datasets, mnist_sample or synthetic_reviews; a new name with --from",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder for the prepared datasets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)",
    )
    parser.add_argument(
        "--manual-dir",
        type=Path,
        metavar="DIR",
        help="folder with the dataset's original files, to use instead of a download",
    )
    own = parser.add_argument_group("your own files", argument_default=argparse.SUPPRESS)

    def add(name: str, description: str, **settings: Any) -> None:
        own.add_argument(name, help=description, **settings)

    add(
        "--from",
        "table files (.csv, .tsv, .jsonl, also .gz of these, .parquet), folders of images, or .npz files; SPLIT=PATH "
        "names their split",
        dest="sources", metavar="PATH", nargs="+", default=None,
    )  # fmt: skip
    add("--overwrite", "replace the dataset of this name", action="store_true", default=False)
    add("--skip-invalid", "leave out rows and images that are invalid", action="store_true")
    add(
        "--test-fraction",
        "fraction of the examples for the test split (default: 0.2); 0: none",
        type=float,
        metavar="F",
    )
    add("--seed", "seed of the random choice of test examples (default: 0)", type=int, metavar="N")
    add("--text", "column of the text (default: text)", metavar="COLUMN")
    add("--label", "column of the class label (default: texts without labels)", metavar="COLUMN")
    add(
        "--group",
        "keeps equal groups, such as a patient or an author, in one split: a column; for images, a regular expression "
        "that finds the group in each path, or the name of an array of an .npz file",
        metavar="GROUP",
    )
    add("--split-column", "column that names the split of each row: train, validation or test", metavar="COLUMN")
    add("--columns", "names of all columns, if the file has no header", metavar="COLUMN", nargs="+")
    add(
        "--separator",
        "character between columns, or tab (default: comma, semicolon, tab or |, whichever fits)",
        metavar="CHAR",
        type=lambda text: "\t" if text in ("tab", r"\t") else text,
    )
    add("--no-quotes", "quotation marks belong to the texts", action="store_false", dest="quotes")
    add("--encoding", "encoding of text files (default: by byte-order mark, else UTF-8)", metavar="NAME")
    add("--missing", "labels that mean a missing value (default: NaN, NA, null, None and the like)", metavar="LABEL",
        nargs="*")  # fmt: skip
    add("--resize", "scale all images to this height and width", metavar=("H", "W"), nargs=2, type=int)
    add("--background", "color behind transparent pixels, such as white or #808080", metavar="COLOR")
    add("--grayscale", "convert color images to gray", action="store_true")
    return parser


def _refuse_user_file_options(args: argparse.Namespace) -> None:
    known = {"names", "data_dir", "manual_dir", "sources", "overwrite"}
    own = [name for name in vars(args) if name not in known] + ["overwrite"] * args.overwrite
    if own:
        option = {"quotes": "no-quotes"}.get(own[0], own[0].replace("_", "-"))
        raise UserError(f"--{option} is for your own files: name them with --from.")


if __name__ == "__main__":
    run_script(main)
