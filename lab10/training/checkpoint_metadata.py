"""Metadata of a checkpoint, and the digests that detect corruption of its arrays and metadata.

The metadata hold the validation metrics, the partial sums of the next line of metrics, the state of early stopping,
and digests of the arrays and of the metadata themselves.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from lab10.config.errors import UserError, first_line
from lab10.tasks.metrics import Metrics
from lab10.training.early_stopping import EarlyStopping

FORMAT_VERSION = 3
METADATA_FILE = "_CHECKPOINT_METADATA"  # written by Orbax; contains the custom_metadata
# Errors that damaged metadata cause.
READ_ERRORS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, OSError)


class UnsupportedFormat(UserError):
    """A valid checkpoint in the format of another version of lab10; it is left untouched."""


@dataclasses.dataclass(frozen=True)
class CheckpointMetadata:
    """Contents of a checkpoint other than arrays, as stored in its metadata.

    Attributes:
      pending_metrics: metrics of the steps since the last line of metrics.
      validation: validation metrics at this step; empty if there was no evaluation.
      sha256: digest of each pytree of arrays, by name.
      early_stopping: the best evaluation so far.
    """

    pending_metrics: Metrics
    validation: dict[str, float]
    sha256: dict[str, str]
    early_stopping: EarlyStopping

    def to_json(self) -> dict[str, Any]:
        """Returns the custom metadata of a checkpoint, with their own digest."""
        metadata = {
            "format": FORMAT_VERSION,
            "validation": self.validation,
            "pending_metrics": {"totals": self.pending_metrics.totals, "count": self.pending_metrics.count},
            "early_stopping": dataclasses.asdict(self.early_stopping),
            "sha256": self.sha256,
        }
        return metadata | {"own_sha256": digest_of_json(metadata)}

    @classmethod
    def from_json(cls, metadata: dict[str, Any]) -> "CheckpointMetadata":
        """Reads the custom metadata of a checkpoint in the current format."""
        pending = metadata["pending_metrics"]
        return cls(
            Metrics(_floats(pending["totals"]), float(pending["count"])),
            _floats(metadata["validation"]),
            dict(metadata["sha256"]),
            EarlyStopping(**metadata["early_stopping"]),
        )


def read_checkpoint_metadata(path: Path) -> CheckpointMetadata:
    """Reads the metadata of the checkpoint in a folder.

    Raises:
      UserError: the metadata are damaged.
      UnsupportedFormat: the checkpoint was saved by another version of lab10.
    """
    try:
        # Not read with Orbax, which would also read the metadata of every array, in about 30 ms.
        metadata = dict(json.loads((path / METADATA_FILE).read_text())["custom_metadata"])
        own_sha256 = metadata.pop("own_sha256", None)
        has_no_digest = own_sha256 is None and metadata["format"] != FORMAT_VERSION  # as in format 1
        if not has_no_digest and own_sha256 != digest_of_json(metadata):
            raise ValueError("they differ from what was saved")
        if metadata["format"] == FORMAT_VERSION:
            return CheckpointMetadata.from_json(metadata)
    except READ_ERRORS as error:
        raise UserError(f"{path} is damaged: its metadata cannot be read ({first_line(error)}).") from error
    raise UnsupportedFormat(
        f"{path} has the checkpoint format {metadata['format']}; this version of lab10 reads format "
        f"{FORMAT_VERSION}. Use the revision that config.json records under provenance, "
        "or train again with another --workdir."
    )


def digest(tree: Any) -> str:
    """Computes the SHA-256 of the paths, dtypes, shapes and bytes of the arrays of a pytree, in hexadecimal."""
    sha256 = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf) if _is_local(leaf) else multihost_utils.process_allgather(leaf, tiled=True)
        sha256.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        sha256.update(np.ascontiguousarray(array).tobytes())
    return sha256.hexdigest()


def digest_of_json(value: dict[str, Any]) -> str:
    """Computes the SHA-256 of a JSON object, serialized with sorted keys, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _is_local(leaf: Any) -> bool:
    """Whether this process has the entire array."""
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def _floats(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}
