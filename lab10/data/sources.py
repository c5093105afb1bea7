"""Opens prepared TFDS datasets without TensorFlow, with error messages that say what to do."""

import contextlib
import copy
import dataclasses
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab10.cli.console import console
from lab10.config.errors import UserError, first_line
from lab10.config.paths import path_of
from lab10.config.registry import closest
from lab10.data import samples
from lab10.data.array_cache import cache_root
from lab10.data.content_digest import content_sha256
from lab10.data.prepared_folders import prepared_dataset_hint
from lab10.data.tfds_import import import_tfds

# Datasets that this project prepares without a network: each file in samples/ has the builder of the same name.
SAMPLES = {module.name: f"{samples.__name__}.{module.name}" for module in pkgutil.iter_modules(samples.__path__)}


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared dataset.

    Attributes:
      features: the TFDS features of an example.
      version: full TFDS name with the version.
      records: the TFDS data source, which reads examples by index.
      fingerprint: name, version and sizes, and the content of user files, which identify the data in the cache.
      folder: folder of the prepared dataset, for messages.
      splits: the `tfds.core.SplitDict` of the dataset: its splits, and the rows of their slices.
    """

    features: Any
    version: str
    records: Any
    fingerprint: dict[str, Any]
    folder: str
    splits: Any = dataclasses.field(default_factory=dict)

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

    def undecoded(self, feature: str) -> "Source":
        """Returns the same split, with the stored bytes of a feature instead of its value."""
        records = copy.copy(self.records)
        records.decoders = {feature: import_tfds().decode.SkipDecoding()}
        return dataclasses.replace(self, records=records)

    def chunks(self, size: int = 2000) -> Iterator[list[dict[str, Any]]]:
        """Yields the records in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.read(list(range(start, min(start + size, len(self)))))


def data_root(directory: str | None) -> Path:
    """Returns the folder of prepared TFDS datasets: `directory`, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return path_of(directory or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").absolute()


def open_source(
    name: str,
    split: str,
    directory: str | None = None,
    cache_dir: str | None = None,
    option: str = "--data.train-split",
) -> Source:
    """Opens a split of a prepared dataset. Builders of this project and of the user are prepared first if necessary.

    Args:
      name: name of the dataset.
      split: a TFDS split, or slices of splits: `train`, `train[:80%]`, `train+unsupervised`.
      directory: folder of the prepared datasets, as in `data_root`.
      cache_dir: folder of the cache, in which the offline samples are prepared.
      option: the option that names the split, for messages.

    Raises:
      UserError: the dataset or the split is unknown, or the dataset is not prepared.
    """
    builder = open_builder(name, cache_root(cache_dir) / "samples" if _base(name) in SAMPLES else data_root(directory))
    info = builder.info
    require_split(name, info.splits, split, option)
    try:
        records = builder.as_data_source(split=split)
    except NotImplementedError as error:
        file_format = info.file_format.value if info.file_format else "another"
        raise UserError(
            f"{name} in {builder.data_dir} is prepared in the file format {file_format}, which has no random access; "
            "expected array_record.\n"
            f"Prepare it again in another folder: python scripts/prepare_data.py {name} --data-dir FOLDER"
        ) from error
    fingerprint = _fingerprint(info, split)
    return Source(info.features, info.full_name, records, fingerprint, str(builder.data_dir), info.splits)


def _fingerprint(info: Any, split: str) -> dict[str, Any]:
    """Returns what identifies a split in the cache. TFDS knows the bytes of whole splits only, not of slices."""
    described = info.splits[split]
    fingerprint = {
        "name": info.full_name,
        "split": split,
        "shards": list(described.shard_lengths),
        "bytes": described.num_bytes,
    }
    if (content := content_sha256(info)) is not None:  # TFDS's own datasets keep their keys
        fingerprint["content"] = content
    if split in info.splits:
        return fingerprint
    rows = [(Path(one.filename).name, one.skip, one.take) for one in described.file_instructions]
    return fingerprint | {"rows": rows, "whole": {name: whole.num_bytes for name, whole in info.splits.items()}}


def require_split(name: str, splits: Any, split: str, option: str) -> None:
    """Checks that a split, or slices of splits, exist and have rows.

    Args:
      name: name of the dataset, for messages.
      splits: its `tfds.core.SplitDict`.
      split: name of the split, or slices.
      option: the option that names it.

    Raises:
      UserError: there is no such split; the message lists those that exist.
    """
    try:
        examples = splits[split].num_examples
    except (KeyError, ValueError, NotImplementedError) as error:
        existing = ", ".join(map(repr, splits)) or "none"
        # The last line says what is wrong; those above say where TFDS found it.
        reason = f" ({str(error).strip().splitlines()[-1][:100]})" if set(split) & set("[]:%") else ""
        raise UserError(
            f"{name} has no split {split!r}{reason}; it has {existing}.\n"
            f"Name one of these, or slices such as 'train[:80%]' or 'train+test', with {option}."
        ) from error
    if not examples:
        raise UserError(f"The split {split!r} of {name} has no examples. Name another with {option}.")


def _base(name: str) -> str:
    """Returns the name of a dataset without config and version."""
    return re.split("[/:]", name)[0]


def open_builder(name: str, root: Path) -> Any:
    """Returns the TFDS builder of a prepared dataset. Builders of this project and of the user prepare it if necessary.

    Raises:
      UserError: the dataset is unknown or not prepared under `root`.
    """
    if _base(name) in SAMPLES:
        importlib.import_module(SAMPLES[_base(name)])  # importing registers the builder with TFDS
    builder = find_tfds_builder(name, root)
    if not builder.is_prepared() and not type(builder).__module__.startswith("tensorflow_datasets."):
        prepare_from_builder(builder)
    if not builder.is_prepared():
        raise UserError(
            f"{name} is not prepared in {root}.\n{prepared_dataset_hint(name, root) or _data_hint(name, root)}"
        )
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
    except tfds.core.registered.DatasetNotFoundError:
        known = [*tfds.list_builders(with_community_datasets=False), *SAMPLES]
        found = prepared_dataset_hint(name, root)
        hint = found or _user_data_hint(name, root)
        raise UserError(
            f"TFDS has no dataset {name!r}{'.' if found else closest(name, known)}\n{hint}\n"
            "To use a TFDS builder of your own, define or import it in the experiment's file."
        ) from None  # TFDS's message lists its datasets, in hundreds of lines
    except Exception as error:  # the code of a dataset may raise anything: an unknown config or version, an import
        raise UserError(
            f"TFDS cannot open {name!r} in {root}: {first_line(error)}\n"
            f"{prepared_dataset_hint(name, root)}\n"
            "Name a dataset as NAME, NAME/CONFIG or NAME:VERSION. If it is already prepared there in another file "
            "format, prepare it in another --data-dir."
        ) from error


def _user_data_hint(name: str, root: Path) -> str:
    missing = "" if root.is_dir() else ", which does not exist (a relative path starts at the current folder)"
    return (
        f"Nor is it in {root}{missing}. Point TFDS_DATA_DIR (or --data.dir) at the folder that contains it, or prepare "
        "it from your own files:\n"
        f"  python scripts/prepare_data.py {name} --from FILE --data-dir {root}\n"
        f"The offline samples need no files: --data.name {' or '.join(SAMPLES)}."
    )


def _data_hint(name: str, root: Path) -> str:
    return (
        "Point TFDS_DATA_DIR (or --data.dir) at a folder that contains it, or prepare it there, with a network:\n"
        f"  python scripts/prepare_data.py {name} --data-dir {root}\n"
        f"The offline samples need neither: --data.name {' or '.join(SAMPLES)}."
    )


def prepare_from_builder(builder: Any) -> None:
    """Prepares a dataset of this project or of the user, whose builder is imported.

    Needs neither a network nor TensorFlow, unless the builder does.

    Raises:
      UserError: the folder cannot be written, or the builder fails.
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
    except UserError:
        raise
    except (OSError, RuntimeError) as error:
        is_sample = type(builder).__module__ in SAMPLES.values()
        if isinstance(error, FileNotFoundError | RuntimeError) and not is_sample:  # what the builder reads
            raise _failed(builder, error) from error
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(
            f"{builder.info.full_name} cannot be written to {builder.data_dir} ({reason}).\n"
            "Name a writable folder with enough space: --data.dir, or for an offline sample --data.cache-dir "
            "(LAB10_CACHE_DIR)."
        ) from error
    except ImportError as error:
        raise UserError(
            f"{builder.info.full_name} cannot be prepared without {error.name or error}.\n"
            "Install it. TFDS needs TensorFlow to encode images that are arrays, but not for PNG files: see "
            "lab10/data/samples/mnist_sample.py."
        ) from error
    except Exception as error:  # the code of a builder may raise anything
        raise _failed(builder, error) from error


def _failed(builder: Any, error: Exception) -> UserError:
    return UserError(f"The builder of {builder.info.full_name} failed: {type(error).__name__}: {first_line(error)}")
