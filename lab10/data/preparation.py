"""Prepares TFDS datasets. Only this module needs TensorFlow, and the network unless the files are local."""

import contextlib
import importlib.util
import socket
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from lab10.cli.console import console
from lab10.config.errors import UserError, first_line
from lab10.config.paths import path_of
from lab10.data.array_cache import cache_root
from lab10.data.sources import SAMPLES, data_root, find_tfds_builder, open_builder
from lab10.data.tfds_import import import_tfds

CONNECT_SECONDS = 5.0


def prepare(name: str, directory: str | None, manual_dir: Path | None) -> Path:
    """Prepares a dataset as array_record, which training reads without TensorFlow.

    Args:
      name: name of a TFDS dataset or of an offline sample.
      directory: folder of the prepared datasets; None as in `data_root`.
      manual_dir: folder with the original files of the dataset; None downloads them.

    Returns:
      The folder of the prepared dataset.

    Raises:
      UserError: TensorFlow, the network or a file is missing, or the folder cannot be written.
    """
    if name in SAMPLES:
        return Path(open_builder(name, cache_root(None) / "samples").data_dir)
    if path_of(name).suffix and path_of(name).exists():
        raise UserError(f"{name} is a file. Choose a name for the dataset, and give the file: NAME --from {name}")
    tfds = import_tfds()
    root = data_root(directory)
    builder = find_tfds_builder(name, root, file_format="array_record")
    if builder.is_prepared():
        return Path(builder.data_dir)
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"Preparing {name} needs TensorFlow; training does not. Install it: pip install 'lab10[prepare]'"
        )
    if manual_dir is not None and not manual_dir.is_dir():
        raise UserError(
            f"--manual-dir {manual_dir} is not a folder; expected the folder with the dataset's original files."
        )
    if manual_dir is None:
        _require_network(name, builder, root)
    console.print(f"Preparing {builder.info.full_name} in {builder.data_dir}")
    try:
        config = tfds.download.DownloadConfig(manual_dir=manual_dir and manual_dir.absolute())
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(download_config=config, file_format="array_record")
    except Exception as error:  # the code of a dataset may raise anything
        raise UserError(
            f"{name} could not be prepared: {first_line(error)}\n"
            f"Download its files by hand and name their folder with --manual-dir, or copy a prepared dataset to {root}."
        ) from error
    return Path(builder.data_dir)


def _require_network(name: str, builder: Any, root: Path) -> None:
    """Raises UserError within seconds if the host of the files cannot be reached: TFDS would retry for minutes."""
    urls = getattr(builder, "url_infos", None) or {}
    host = urllib.parse.urlparse(next(iter(urls), "")).hostname or "storage.googleapis.com"
    try:
        socket.create_connection((host, 443), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"{name} is not in {root}, and its host {host} cannot be reached ({error}).\n"
            "Point TFDS_DATA_DIR at a folder that contains it, or download its files on another machine and run:\n"
            f"  python scripts/prepare_data.py {name} --manual-dir FOLDER_OF_FILES"
        ) from error
