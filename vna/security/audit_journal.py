"""The local audit log: files to which each process appends its events until they are sealed.

A line is the CRC-32 of what follows, a space, and the event as canonical JSON. A
process locks its file (``flock``) as long as it lives; a file that can be locked
by another is finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from vna.domain.audit import AuditEvent, to_record
from vna.files import sync_folder

_SUFFIX = ".log"
# A file that has grown past this is finished and the next one begun: what is sealed can be removed.
_ROTATE_BYTES = 8 << 20
_READ_MOST = 4 << 20


def canonical(value: dict[str, Any]) -> bytes:
    """Return JSON with sorted keys and no spaces: the same bytes for the same value, always."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place of another, whole and durable, or not at all."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


class JournalWriter:
    """The file of one process, made with its first event. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1
        self._size = 0

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Append events. They survive the death of this process; a power cut only after :meth:`sync`.

        Raises ``OSError`` when they were not written; a part of a line that was is cut off again.
        """
        if self._fd < 0:
            self._open()
        lines = []
        for event in events:
            data = _encoded(event)
            lines.append(b"%08x %b\n" % (zlib.crc32(data), data))
        data = b"".join(lines)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def sync(self) -> None:
        """Make what was written survive a power cut; begin another file if this one is large."""
        if self._fd < 0:
            return
        os.fdatasync(self._fd)
        if self._size >= _ROTATE_BYTES:
            self.close()

    def close(self) -> None:
        """Finish the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.getpid()}-{os.urandom(6).hex()}"
        draft = self._folder / f".{name}"
        fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)
        # Locked before it has its name: nobody may take it for the file of a dead process.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.replace(self._folder / f"{name}{_SUFFIX}")
        sync_folder(self._folder)
        self._fd, self._size = fd, 0


def _encoded(event: AuditEvent) -> bytes:
    record = to_record(event)
    try:
        return canonical(record)
    except TypeError:  # half a surrogate pair, which a client may send and UTF-8 has no bytes for
        return canonical(orjson.loads(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")))


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read of one file: its events, where reading ended, and how many bytes were no events."""

    name: str
    records: tuple[dict[str, Any], ...]
    end: int
    damaged: int
    finished: bool


def names(folder: Path) -> list[str]:
    """Return the names of the files."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX) and not name.startswith("."))
    except FileNotFoundError:
        return []


def read(folder: Path, name: str, start: int, most: int = _READ_MOST) -> Piece | None:
    """Read whole events of a file from a position on; ``None`` if it is gone.

    ``finished`` says that nobody writes to it any more and that all of it was
    read; bytes behind its last whole line then count as damaged.
    """
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Asked before it is read: what a process wrote before it died is seen.
        dead = _is_dead(fd)
        size = os.fstat(fd).st_size
        data = os.pread(fd, most, start) if start < size else b""
    finally:
        os.close(fd)
    whole = data.rfind(b"\n") + 1
    found, damaged = _parse(data[:whole])
    end = start + whole
    finished = dead and (start >= size or start + len(data) >= size)
    if finished or (not whole and len(data) == most):
        damaged += len(data) - whole
        end = start + len(data)
    return Piece(name, tuple(found), end, damaged, finished)


def _is_dead(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    found: list[dict[str, Any]] = []
    damaged = 0
    for line in data.splitlines(keepends=True):
        record = _event(line.rstrip(b"\n"))
        if record is None:
            damaged += len(line)
        else:
            found.append(record)
    return found, damaged


def _event(line: bytes) -> dict[str, Any] | None:
    head, space, body = line.partition(b" ")
    if not space or head != b"%08x" % zlib.crc32(body):
        return None
    record = orjson.loads(body)
    return record if isinstance(record, dict) else None


def unsealed(folder: Path, positions: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the events that lie behind the positions up to which the files are sealed."""
    for name in names(folder):
        start = positions.get(name, 0)
        while (piece := read(folder, name, start)) is not None:
            yield from piece.records
            if piece.end == start:
                break
            start = piece.end
