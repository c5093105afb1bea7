"""Writes examples as a prepared TFDS dataset, which appears complete or not at all."""

import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab10.cli.console import console
from lab10.config.errors import UserError, first_line
from lab10.data.array_cache import locked
from lab10.data.content_digest import content_note, content_sha256
from lab10.data.sources import SAMPLES
from lab10.data.tfds_import import import_tfds
from lab10.data.user_files.examples import Examples
from lab10.data.user_files.progress_bar import progress

VERSION = "1.0.0"
_BATCH = 500  # examples between two updates of the dataset's metadata, which rewrite its files
_EXAMPLES_PER_SHARD = 200_000


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where a dataset is to be written.

    Attributes:
      name: name of the dataset.
      root: folder of the prepared datasets.
      overwrite: whether to replace a dataset of that name that this module wrote.
    """

    name: str
    root: Path
    overwrite: bool

    @property
    def folder(self) -> Path:
        """Folder of the prepared dataset."""
        return self.root / self.name / VERSION

    def is_already_written(self, content: str | None = None) -> bool:
        """Returns whether the dataset exists with this content and need not be written again.

        Args:
          content: SHA-256 of the content; None if it is not yet known.

        Raises:
          UserError: the name is not valid, or belongs to another dataset that may not be replaced.
        """
        require_name(self.name)
        existing = self.root / self.name
        if not existing.exists():
            return False
        old = _content_of(self.folder)
        if old is None or [path for path in existing.iterdir() if path.name[0] != "."] != [self.folder]:
            raise UserError(
                f"{existing} exists and was not written by this command; it is left as it is.\n"
                "Choose another name, or move that folder away."
            )
        if self.overwrite or content is None:
            return False
        if old != content:
            raise UserError(
                f"{self.name} is already prepared in {self.folder}, with other content or from other options.\n"
                "Replace it with --overwrite, or choose another name."
            )
        return True


def require_name(name: str) -> None:
    """Raises UserError if a dataset cannot have this name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > 100:
        suggestion = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")[:100]
        suggestion = suggestion if suggestion[:1].isalpha() else f"my_{suggestion}".strip("_")
        raise UserError(
            f"{name[:100]!r} is not a valid name of a dataset; expected lower-case letters, digits and underscores, "
            f"beginning with a letter, such as {suggestion!r}."
        )
    if name in SAMPLES:
        raise UserError(f"{name!r} is one of the offline samples. Choose another name, such as 'my_{name}'.")
    if name in import_tfds().list_builders(with_community_datasets=False):
        raise UserError(
            f"{name!r} is one of TFDS's own datasets, and --data.name {name} means that one. "
            f"Choose another name, such as 'my_{name}'."
        )


def _content_of(folder: Path) -> str | None:
    """Returns the SHA-256 of the content of a dataset that this module wrote; None for others."""
    tfds = import_tfds()
    try:
        return content_sha256(tfds.builder_from_directory(folder).info)
    except Exception:  # whatever is there, it is no dataset of ours
        return None


def write(examples: Examples, splits: dict[str, np.ndarray], destination: Destination, description: str) -> Path:
    """Writes a dataset in the order of the splits and their indices, and returns its folder.

    Nothing is written if the dataset exists with the same content.

    Args:
      examples: the examples.
      splits: indices of the examples of each split, int64 [examples of the split].
      destination: where to write them.
      description: description of the dataset.

    Raises:
      UserError: the name is taken, or the folder cannot be written.
    """
    content = examples.content_sha256(splits)
    try:
        with locked(destination.root, f"{destination.name}.preparation"):
            if destination.is_already_written(content):
                console.print(
                    f"{destination.name}/{VERSION} is already prepared with this content; it was not written again.",
                )
                return destination.folder
            console.print(f"Preparing {destination.name}/{VERSION} in {destination.folder}")
            partial = _new_folder(destination)
            try:
                new = partial / destination.name
                _write_records(examples, splits, destination.name, new / VERSION, description, content)
                if destination.folder.exists():
                    os.replace(destination.folder.parent, partial / "old")
                os.replace(new, destination.folder.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{destination.name} cannot be written to {destination.root} ({error.strerror or error}).\n"
            "Name a writable folder with enough space: --data-dir or TFDS_DATA_DIR."
        ) from error
    return destination.folder


def _new_folder(destination: Destination) -> Path:
    """Makes an empty hidden folder; removes those of processes that died. This process holds the lock."""
    prefix = f".{destination.name}.preparation-"
    for leftover in destination.root.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=destination.root))


def _write_records(
    examples: Examples, splits: dict[str, np.ndarray], name: str, folder: Path, description: str, content: str
) -> None:
    """Writes the records and the metadata of a dataset into `folder`, and reads some of them back."""
    tfds = import_tfds()
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=name,
        version=tfds.core.Version(VERSION),
        data_dir=str(folder),
        module_name="",
        release_notes={VERSION: content_note(content)},
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=description,
        features=tfds.features.FeaturesDict(examples.features),
    )
    # Writes in the order given, so row ids are positions in the user's files; TFDS's other writers shuffle, and need
    # TensorFlow above 1 GB.
    writer = tfds.core.SequentialWriter(info, _EXAMPLES_PER_SHARD, file_format="array_record")
    writer.initialize_splits([*splits])
    with progress("writing", sum(map(len, splits.values())), every=1) as advance:
        for split, indices in splits.items():
            for start in range(0, len(indices), _BATCH):
                batch = []
                for index in indices[start : start + _BATCH].tolist():
                    batch.append(examples.example(index))
                    advance(1)
                with _write_errors():
                    writer.add_examples({split: batch})
    with _write_errors():
        writer.close_all()
    builder = tfds.builder_from_directory(folder)
    for split, indices in splits.items():
        decoders = {name: tfds.decode.SkipDecoding() for name in examples.features if name == "image"}
        records = builder.as_data_source(split=split, decoders=decoders)
        if len(records) != len(indices):
            raise OSError(f"{len(records):,} of {len(indices):,} examples of {split} arrived in the file")
        records[len(indices) - 1]


@contextlib.contextmanager
def _write_errors() -> Iterator[None]:
    """Raises OSError where array_record cannot write, for example because the disk is full."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(first_line(error).split(";")[0]) from error
