"""Opening prepared TFDS datasets without TensorFlow, and the errors a user meets there."""

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

# Datasets that this project can write by itself, from no more than installed packages.
SAMPLES = {
    "mnist_sample": "lab10.data.samples.mnist_sample",
    "synthetic_reviews": "lab10.data.samples.synthetic_reviews",
}


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared dataset.

    Attributes:
      features: TFDS's description of an example's fields.
      version: TFDS's full name, with the version.
      records: the examples, read by position.
      fingerprint: name, version and sizes, by which the cache knows the data again.
      folder: where it lies prepared, for messages.
    """

    features: Any
    version: str
    records: Any
    fingerprint: dict[str, Any]
    folder: str

    def __len__(self) -> int:
        return len(self.records)

    def read(self, row_ids: list[int]) -> list[dict[str, Any]]:
        """Reads the records with these row ids.

        Raises:
          UserError: the prepared files are damaged or gone.
        """
        try:
            return self.records.__getitems__(row_ids)
        except Exception as error:  # whatever the reader of the file format raises
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"{self.version} in {self.folder} cannot be read: {said}\n"
                "Copy its folder there again, or prepare it again."
            ) from error

    def chunks(self, size: int = 2000) -> Iterator[list[dict[str, Any]]]:
        """The records in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(list(range(start, min(start + size, len(self)))))


def data_root(directory: str | None) -> Path:
    """Returns the folder of prepared TFDS datasets: the given one, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return path_of(directory or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").absolute()


def open_source(name: str, split: str, directory: str | None = None, cache_dir: str | None = None) -> Source:
    """Opens a split of a prepared dataset, and prepares the project's own samples if needed.

    Raises:
      UserError: there is no such dataset or split, or it is not prepared there.
    """
    builder = open_builder(name, cache_root(cache_dir) / "samples" if name in SAMPLES else data_root(directory))
    if split not in builder.info.splits:
        raise UserError(
            f"{name} has no split {split!r}; it has {', '.join(map(repr, builder.info.splits)) or 'none'}.\n"
            "Name the right one with --data.train-split or --data.test-split."
        )
    try:
        records = builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise UserError(
            f"{name} in {builder.data_dir} is prepared in a file format without random access.\n"
            f"Prepare it again into another folder: python scripts/prepare_data.py {name} --data-dir FOLDER"
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
    """Returns the TFDS builder of a prepared dataset, and prepares the project's own samples if needed.

    Raises:
      UserError: the dataset is unknown or not prepared under `root`.
    """
    if name in SAMPLES:
        importlib.import_module(SAMPLES[name])  # importing registers the builder with TFDS
    builder = find_builder(name, root)
    if name in SAMPLES and not builder.is_prepared():
        prepare_sample(builder)
    if not builder.is_prepared():
        raise UserError(f"{name} is not prepared in {root}.\n{_how_to_bring_data(name, root)}")
    return builder


def find_builder(name: str, root: Path, **options: Any) -> Any:
    """Returns the TFDS builder with that name, prepared or not.

    Raises:
      UserError: there is none, or TFDS cannot open it.
    """
    tfds = import_tfds()
    try:
        if tfds.core.naming.parse_builder_name_kwargs(name)[0].namespace:
            # TFDS would fetch code from where the namespace says, and run it.
            raise ValueError("it has a namespace, and only TFDS's own datasets are read")
        return tfds.builder(name, data_dir=root, **options)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = [*tfds.list_builders(with_community_datasets=False), *SAMPLES]
        raise UserError(
            f"TFDS knows no dataset {name!r}{closest(name, known)}\n{_how_to_bring_data(name, root)}"
        ) from error
    except Exception as error:  # whatever a dataset's own code raises: a config or version that is not there, an import
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise UserError(
            f"TFDS cannot open {name!r} in {root}: {said}\n"
            "Name a dataset as NAME, NAME/CONFIG or NAME:VERSION; one that is prepared in another file format goes "
            "into another --data-dir."
        ) from error


def _how_to_bring_data(name: str, root: Path) -> str:
    return (
        "Point TFDS_DATA_DIR (or --data.dir) at a folder that holds it, or prepare it there, with a network:\n"
        f"  python scripts/prepare_data.py {name} --data-dir {root}\n"
        f"Without either, the offline samples always work: --data.name {' or '.join(SAMPLES)}."
    )


def prepare_sample(builder: Any) -> None:
    """Writes one of the project's own datasets; needs neither a network nor TensorFlow."""
    tfds = import_tfds()
    console.print(f"Preparing {builder.info.full_name} in {builder.data_dir}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints, and standard output is the script's result
            builder.download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(compute_stats=tfds.download.ComputeStatsMode.SKIP),
            )
    except FileExistsError:
        pass  # another process has just prepared it
    except OSError as error:
        raise UserError(
            f"{builder.info.full_name} cannot be written to {builder.data_dir} ({error.strerror or error}).\n"
            "Name a folder with room with LAB10_CACHE_DIR or --data.cache-dir."
        ) from error


def import_tfds() -> Any:
    """Imports TFDS without its notes on optional decoders and its progress bars on standard output.

    A prepared dataset is data, whoever made it: what TFDS would run on its say is taken out.
    """
    import absl.logging
    import PIL.EpsImagePlugin

    absl.logging.set_verbosity(absl.logging.FATAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds
    tfds.disable_progress_bar()
    _import_no_features(tfds.features.FeatureConnector)
    PIL.EpsImagePlugin.gs_binary = False  # an image may be a PostScript program, which Pillow gives to Ghostscript
    return tfds


def _import_no_features(connector: Any) -> None:
    """Has TFDS refuse a features.json that names classes of other modules, which it would import to find them."""
    of_tfds = connector.cls_from_name.__func__
    if of_tfds.__module__ == __name__:
        return

    def cls_from_name(cls: Any, name: str) -> Any:
        if not name.startswith("tensorflow_datasets.") and name not in cls._registered_features:
            raise ValueError(f"its features.json names {name!r}, and only TFDS's own features are read")
        return of_tfds(cls, name)

    connector.cls_from_name = classmethod(cls_from_name)
