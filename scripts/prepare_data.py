"""Prepares TFDS datasets, from a download or local files: `python scripts/prepare_data.py mnist imdb_reviews`."""

from pathlib import Path
from typing import Any

from lab10.cli.arguments import Parser
from lab10.cli.script import run_script


def main(arguments: list[str]) -> tuple[dict[str, Any], str]:
    parser = Parser(__doc__)
    parser.add_argument("names", metavar="NAME", nargs="+", help="TFDS datasets, mnist_sample or synthetic_reviews")
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
    args = parser.parse_args(arguments)

    from lab10.data.preparation import prepare

    prepared = {name: str(prepare(name, args.data_dir, args.manual_dir)) for name in args.names}
    return {"prepared": prepared}, "\n".join(f"{name}: {folder}" for name, folder in prepared.items())


if __name__ == "__main__":
    run_script(main)
