"""What a recorded disk writes down: each write, each flush and each mark, in order."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITE, FLUSH, MARK = 1, 2, 3
# Kind, offset on the disk, length of the bytes that follow.
_RECORD = struct.Struct("<BQI")


def encode(kind: int, offset: int, data: bytes) -> bytes:
    return _RECORD.pack(kind, offset, len(data)) + data


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log: a write of ``length`` bytes that lie ``at`` in the log, a flush that returned, or a mark."""

    kind: int
    offset: int
    length: int
    at: int


class DiskLog:
    """A log that is complete, read."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        self.events = list(self._read())

    def _read(self) -> Iterator[Event]:
        at = 0
        while at < len(self._data):
            kind, offset, length = _RECORD.unpack_from(self._data, at)
            at += _RECORD.size
            yield Event(kind, offset, length, at)
            at += length

    def bytes_of(self, event: Event) -> bytes:
        return self._data[event.at : event.at + event.length]

    def marks(self, end: int) -> list[str]:
        """Return the marks among the first events."""
        return [self.bytes_of(event).decode() for event in self.events[:end] if event.kind == MARK]
