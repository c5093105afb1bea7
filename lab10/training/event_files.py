"""TensorBoard's event files, written so that a run which was killed and resumed shows every step once.

A process writes one file, named for the step that it starts from: `events.out.tfevents.0000001200`.
The names sort as the steps do, whatever the clock says. A file is a sequence of TFRecords, each
an `Event` message:

    length uint64 | masked CRC of the length uint32 | message [length] | masked CRC of the message uint32

all little-endian (https://www.tensorflow.org/tutorials/load_data/tfrecord).
"""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

from lab10.training.workdir import write_atomically

PREFIX = "events.out.tfevents."
_LENGTH = struct.Struct("<Q")
_CRC_BYTES = 4


class EventWriter:
    """Adds events to the file of a process that starts from `start`; an earlier file of that name is replaced."""

    def __init__(self, directory: Path, start: int):
        # They import PyTorch where that is installed, which takes seconds.
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter

        self._event, self._scalar = Event, summary.scalar
        directory.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(str(directory / f"{PREFIX}{start:010d}"))
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def add(self, name: str, value: float, step: int) -> None:
        """One point of the curve of that name."""
        event = self._event(wall_time=time.time(), step=step, summary=self._scalar(name, value))
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Hands what was added to the system."""
        self._records.flush()

    def close(self) -> None:
        """Flushes, and closes the file."""
        self._records.close()


def drop_events_after(directory: Path, step: int) -> None:
    """Takes the events of later steps, and what follows a torn one, out of all files of a folder."""
    for path in sorted(directory.glob(f"{PREFIX}*")):
        content = path.read_bytes()
        kept = b"".join(record for record, of_step in _records(content) if of_step <= step)
        if kept != content:
            write_atomically(path, kept)


def _records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Each record and the step of its event, up to the first that is torn."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    start = 0
    while start + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, start)
        message = start + _LENGTH.size + _CRC_BYTES
        end = message + length + _CRC_BYTES
        if end > len(content):
            return
        try:
            event = Event.FromString(content[message : message + length])
        except DecodeError:
            return
        yield content[start:end], event.step
        start = end
