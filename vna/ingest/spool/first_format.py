"""A spool of the first format becomes one of this: what its log holds is compared with its files, and restored.

In that format an instance was a file in ``incoming``, and a copy in a log made
it durable. The files stay where they are and are stored from there. A record of
the log is given up when its bytes were found, equal and durable, in a file; it
is never judged by the name of its segment or by the boot it was written in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from vna.domain.errors import IntegrityError
from vna.domain.file_range import FileRange
from vna.files import make_durable_folder, sync_file, sync_folder
from vna.ingest.spool.entry import SpoolEntry

log = structlog.get_logger(__name__)

_PAGE = 4096
_MAGIC = b"VNASEG01"
# Magic, generation, identity of the boot.
_SEGMENT = struct.Struct("<8sQ36s")
# Generation, length of the bytes, their XXH3, length of the name, CRC-32 of all that and the name.
_RECORD = struct.Struct("<QQQHI")
_NAME_MOST = 255
_LEFT = b"This spool is of a later format. Versions of the archive that kept a log here must not use it.\n"


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    bytes: FileRange


def upgrade(path: Path, partial: Path, incoming: Path, aside: Path) -> int:
    """Restore what the log of a spool of the first format holds and its files lack; return how many entries.

    Segments of living processes are left for a later start; what is no segment, or cannot be read, is set aside.
    Raises ``OSError`` if something cannot be made durable; then all is as it was.
    """
    folder = path / "log"
    if not folder.is_dir():
        return 0
    restored = 0
    living = False
    for segment in sorted(folder.iterdir()):
        try:
            fd = os.open(segment, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            _set_aside(segment, aside, str(error))
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            restored += _empty(segment, fd, partial, incoming, aside)
        except BlockingIOError:
            living = True
        finally:
            os.close(fd)
    if not living:
        with contextlib.suppress(OSError):  # a process of the earlier version may just have made one
            folder.rmdir()
            # Such a process makes a folder of this name at its start: it refuses to run, and loses nothing.
            folder.write_bytes(_LEFT)
            sync_folder(path)
    if restored:
        log.warning("instances were restored from the log of an earlier version's spool", instances=restored)
    return restored


def _empty(segment: Path, fd: int, partial: Path, incoming: Path, aside: Path) -> int:
    try:
        head = os.pread(fd, _SEGMENT.size, 0)
    except OSError as error:
        _set_aside(segment, aside, str(error))
        return 0
    if len(head) < _SEGMENT.size or not head.startswith(_MAGIC):
        if any(head):
            _set_aside(segment, aside, "it is no segment of the first format")
        else:  # one that was being made: it never held anything
            segment.unlink(missing_ok=True)
        return 0
    restored = 0
    for record in _records(segment, fd, _SEGMENT.unpack(head)[1]):
        restored += _keep(record, partial, incoming)
    sync_folder(incoming)
    segment.unlink(missing_ok=True)
    return restored


def _keep(record: _Record, partial: Path, incoming: Path) -> bool:
    """See that a record's bytes are in a file and durable; return whether they had to be written."""
    target = incoming / record.name
    try:
        FileRange(target, 0, record.bytes.length, record.bytes.checksum).check()
        if target.stat().st_size == record.bytes.length:
            sync_file(target)
            return False
    except (OSError, IntegrityError):
        pass  # not there, other bytes, or not to be read: the log's are put in its place
    part = partial / os.urandom(6).hex()
    try:
        with part.open("wb") as file:
            file.write(record.bytes.read())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return True


def _records(path: Path, fd: int, generation: int) -> Iterator[_Record]:
    """Yield the whole records of a generation. What is damaged hides nothing behind it: each begins a page."""
    size = os.fstat(fd).st_size
    position = _PAGE
    while position < size:
        found = None
        with contextlib.suppress(OSError):
            found = _record(path, fd, position, generation)
        if found is None:
            position += _PAGE
            continue
        record, space = found
        position += space
        with contextlib.suppress(OSError, IntegrityError, ValueError):
            record.bytes.check()
            SpoolEntry.parse(record.name)
            yield record


def _record(path: Path, fd: int, position: int, generation: int) -> tuple[_Record, int] | None:
    data = os.pread(fd, _RECORD.size + _NAME_MOST, position)
    if len(data) <= _RECORD.size:
        return None
    of, length, checksum, size, crc = _RECORD.unpack_from(data)
    label = data[_RECORD.size : _RECORD.size + size]
    if of != generation or zlib.crc32(data[: _RECORD.size - 4] + label) != crc:
        return None
    begin = _RECORD.size + size
    space = -(-(begin + length) // _PAGE) * _PAGE
    return _Record(label.decode("ascii", "replace"), FileRange(path, position + begin, length, checksum)), space


def _set_aside(segment: Path, aside: Path, why: str) -> None:
    make_durable_folder(aside)
    target = aside / f"{segment.name}-{os.urandom(3).hex()}"
    log.error("a file in the log of the spool is set aside", file=str(segment), to=str(target), reason=why)
    os.rename(segment, target)
    sync_folder(aside)
