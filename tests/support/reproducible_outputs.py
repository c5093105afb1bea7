"""Everything a run writes, as a value, to compare two runs that should be equal."""

import json
import struct
import warnings

import numpy as np
from metrics_without_times import without_times


def read_events(workdir):
    """(tag, step, value) of every event of all files but times, in TensorBoard's order; any byte out of place fails."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        content, start = path.read_bytes(), 0
        while start < len(content):
            (length, crc_of_length) = struct.unpack_from("<QI", content, start)
            message = content[start + 12 : start + 12 + length]
            (crc,) = struct.unpack_from("<I", content, start + 12 + length)
            assert crc_of_length == masked_crc32c(content[start : start + 8]), path
            assert crc == masked_crc32c(message), path
            event = Event.FromString(message)
            found += [
                # Images and texts by their bytes.
                (value.tag, event.step, value.simple_value or value.SerializeToString())
                for value in event.summary.value
                if not value.tag.endswith("_per_second")  # a time
            ]
            start += length + 16
    return found


def read_checkpoint(folder):
    """The bytes of every array of a checkpoint, and the metadata saved with them."""
    import jax
    from orbax.checkpoint import v1 as ocp

    with warnings.catch_warnings(action="ignore"):  # that it is read onto the device that there is
        leaves = jax.tree_util.tree_leaves_with_path(ocp.load_checkpointables(folder))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    described = {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}
    metadata = json.loads((folder / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]
    return {"arrays": described, "metadata": metadata}


def reproducible_outputs(workdir, answer):
    """All that a run leaves, but for times, folders' names and the names that C++ gives its files by chance."""
    files = {}
    for path in sorted(workdir.rglob("*")):
        name = path.relative_to(workdir)
        if path.is_file() and name.parts[0] not in ("checkpoints", "tensorboard"):
            files[str(name)] = path.read_bytes()
    config = json.loads(files["config.json"])
    del config["provenance"]  # the revision may be another by now
    answered = json.loads(answer)
    del answered["workdir"], answered["train_seconds"]
    return {
        **files,
        "metrics.jsonl": without_times(files["metrics.jsonl"]),
        "config.json": config,
        "answer": answered,
        "events": [event for event in read_events(workdir) if not event[0].endswith("_per_second")],
        "checkpoints": {path.name: read_checkpoint(path) for path in sorted((workdir / "checkpoints").iterdir())},
    }


def require_same(expected, found, workdir):
    """Compares two outcomes, and names the first things that differ."""
    assert sorted(found) == sorted(expected), workdir
    assert sorted(found["checkpoints"]) == sorted(expected["checkpoints"]), workdir
    assert [(tag, step) for tag, step, _ in found["events"]] == [(tag, step) for tag, step, _ in expected["events"]]
    for name, value in expected.items():
        assert found[name] == value, f"{name} of {workdir} differs"
