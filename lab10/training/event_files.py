"""TensorBoard event files, in which every step appears once even if the run was killed and resumed.

Each process writes one file, named after the step from which it starts: `events.out.tfevents.0000001200`.
The names sort in the order of the steps, independently of the clock. A file is a sequence of TFRecords,
each with one `Event` message:

    length uint64 | masked CRC of the length uint32 | message [length] | masked CRC of the message uint32

all little-endian (https://www.tensorflow.org/tutorials/load_data/tfrecord).
"""

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab10.config.atomic_write import write_atomically

PREFIX = "events.out.tfevents."
_LENGTH = struct.Struct("<Q")
_CRC_BYTES = 4


class EventWriter:
    """Writes the event file of a process that starts from step `start`, replacing a file of the same name."""

    def __init__(self, directory: Path, start: int):
        # Imported here, because tensorboardX imports PyTorch if it is installed, which takes seconds.
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter

        self._event, self._summary = Event, summary
        directory.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(str(directory / f"{PREFIX}{start:010d}"))
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def add(self, name: str, value: float | np.ndarray | str, step: int) -> None:
        """Adds a point to the curve `name`, an image, uint8 [height, width, channels], or a text in Markdown."""
        if isinstance(value, str):
            summary = self._summary.text(name, value)
        elif isinstance(value, np.ndarray):
            summary = self._summary.image(name, value, dataformats="HWC")
        else:
            summary = self._summary.scalar(name, value)
        event = self._event(wall_time=time.time(), step=step, summary=summary)
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Passes the buffered events to the operating system."""
        self._records.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._records.close()


def drop_events_after(directory: Path, step: int) -> None:
    """Removes events of later steps, and everything from a truncated event on, from all event files of a folder."""
    for path in sorted(directory.glob(f"{PREFIX}*")):
        content = path.read_bytes()
        kept = b"".join(record for record, event_step in _records(content) if event_step <= step)
        if kept != content:
            write_atomically(path, kept)


def _records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Yields each record and the step of its event, up to the first truncated record."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event

    start = 0
    while start + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, start)
        message_start = start + _LENGTH.size + _CRC_BYTES
        end = message_start + length + _CRC_BYTES
        if end > len(content):
            return
        try:
            event = Event.FromString(content[message_start : message_start + length])
        except DecodeError:
            return
        yield content[start:end], event.step
        start = end
