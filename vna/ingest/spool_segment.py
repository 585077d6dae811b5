"""A segment of the spool's log: a file that is written full of zeros once and used again and again.

A segment is a page of header and then records, each on a page of its own: a
head, the entry's name, its bytes. A record counts if its generation is the
segment's and its checksum is right: one that was cut short was never
acknowledged. A segment that holds nothing and has no owner is called ``free-…``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import xxhash

PAGE = 4096
FREE = "free-"
NAME_MOST = 255
_MAGIC = b"VNASEG01"
# Magic, generation, identity of the boot.
_SEGMENT = struct.Struct("<8sQ36s")
# Generation, length of the bytes, their checksum, length of the name, checksum of all that.
_RECORD = struct.Struct("<QQQHI")
_ZEROS = bytes(1 << 20)
_NO_COPY = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


@cache
def boot_identity() -> bytes:
    """Return what changes when the machine starts anew, and with it what its page cache held."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36]
    except OSError:  # not Linux: every start counts as one of the machine
        return os.urandom(18).hex().encode()


class Rounds:
    """Shares one costly call among all threads that wait for it: a call covers what was done before it began."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._state = threading.Condition()
        self._running = False
        self._started = 0
        self._finished = 0

    def wait(self) -> None:
        """Return when a call that began after this one has ended; raises what the call raises."""
        with self._state:
            # A round that has begun may have missed what this thread did: the next one will not.
            wanted = self._started + 1
            while self._running and self._finished < wanted:
                self._state.wait()
            if self._finished >= wanted:
                return
            self._running = True
            self._started = mine = max(wanted, self._started + 1)
        done = False
        try:
            self._call()
            done = True
        finally:
            with self._state:
                if done:
                    self._finished = max(self._finished, mine)
                self._running = False
                self._state.notify_all()


class Segment:
    """One file of the log, locked by its process. ``users`` counts the appends that are under way."""

    def __init__(self, path: Path, fd: int, size: int, generation: int) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self.generation = generation
        self.position = PAGE
        self.users = 0
        self.used = 0.0
        self.rounds = Rounds(lambda: os.fdatasync(fd))

    @classmethod
    def make(cls, path: Path, size: int) -> Self:
        """Make a segment full of zeros, durable but for its name."""
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        segment = cls(path, fd, size, 0)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for offset in range(0, size, len(_ZEROS)):
                os.pwrite(fd, _ZEROS[: size - offset], offset)
            segment.renew()
            os.fsync(fd)
        except BaseException:
            segment.drop()
            raise
        return segment

    @classmethod
    def take(cls, free: Path, size: int) -> Self | None:
        """Take a segment that nobody owns; ``None`` if another process was faster, or it is of another size."""
        try:
            fd = os.open(free, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        path = free.with_name(new_name())
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            head = os.pread(fd, _SEGMENT.size, 0)
            if os.fstat(fd).st_size != size or not head.startswith(_MAGIC):
                free.unlink()
                os.close(fd)
                return None
            os.rename(free, path)
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            return None
        segment = cls(path, fd, size, _SEGMENT.unpack(head)[1])
        segment.renew()
        return segment

    def renew(self) -> None:
        """Forget the records, durably: none of them shall come back once what it stood for has been deleted."""
        self.generation += 1
        self.position = PAGE
        os.pwrite(self.fd, _SEGMENT.pack(_MAGIC, self.generation, boot_identity()), 0)
        os.fdatasync(self.fd)

    def write(self, label: bytes, fd: int, length: int, checksum: int, *, generation: int, position: int) -> None:
        """Write a record at its place, and return when it is durable."""
        fields = struct.pack("<QQQH", generation, length, checksum, len(label))
        head = fields + zlib.crc32(fields + label).to_bytes(4, "little") + label
        os.pwrite(self.fd, head, position)
        _copy(fd, self.fd, length, position + len(head))
        self.rounds.wait()

    def leave(self) -> None:
        """Give it to the next process; it holds nothing."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, self.path.with_name(f"{FREE}{self.path.name}"))
        os.close(self.fd)

    def drop(self) -> None:
        """Remove it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        os.close(self.fd)


def new_name() -> str:
    """Return a name for a segment of this process."""
    return f"{os.getpid()}-{os.urandom(6).hex()}"


def set_free(path: Path, fd: int) -> None:
    """Make a dead process's segment, locked by this one, hold nothing; drop one that was never whole."""
    head = os.pread(fd, _SEGMENT.size, 0)
    if len(head) < _SEGMENT.size or not head.startswith(_MAGIC):
        path.unlink()
        return
    os.pwrite(fd, _SEGMENT.pack(_MAGIC, _SEGMENT.unpack(head)[1] + 1, boot_identity()), 0)
    os.fdatasync(fd)
    os.rename(path, path.with_name(f"{FREE}{path.name}"))


def boot_of(fd: int) -> bytes:
    """Return the identity of the boot that wrote a segment's header, empty for what is no segment."""
    head = os.pread(fd, _SEGMENT.size, 0)
    return _SEGMENT.unpack(head)[2] if len(head) == _SEGMENT.size else b""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry in a segment that a dead process left: its name, and where its bytes are."""

    name: str
    offset: int
    length: int


def space_of(label: bytes, length: int) -> int:
    """Return the bytes that a record takes in a segment."""
    return -(-(_RECORD.size + len(label) + length) // PAGE) * PAGE


def records(fd: int) -> Iterator[Record]:
    """Yield the whole records of a segment, in order; the first place where no record begins ends it."""
    head = os.pread(fd, _SEGMENT.size, 0)
    if len(head) < _SEGMENT.size or not head.startswith(_MAGIC):
        return
    generation = _SEGMENT.unpack(head)[1]
    position = PAGE
    while len(data := os.pread(fd, _RECORD.size + NAME_MOST, position)) > _RECORD.size:
        of, length, checksum, size, head_checksum = _RECORD.unpack_from(data)
        label = data[_RECORD.size : _RECORD.size + size]
        if of != generation or zlib.crc32(data[: _RECORD.size - 4] + label) != head_checksum:
            return
        offset = position + _RECORD.size + size
        # Appends of several threads are written in any order: one that is not whole may be followed by one that is.
        if _checksum(fd, offset, length) == checksum:
            yield Record(label.decode(), offset, length)
        position += space_of(label, length)


def _checksum(fd: int, offset: int, length: int) -> int:
    digest = xxhash.xxh3_64()
    while length and (piece := os.pread(fd, min(length, 1 << 20), offset)):
        digest.update(piece)
        offset += len(piece)
        length -= len(piece)
    return digest.intdigest()


def _copy(source: int, target: int, length: int, position: int) -> None:
    """Copy a whole file into another at a position, within the kernel where it can."""
    done = 0
    try:
        while done < length:
            count = os.copy_file_range(source, target, length - done, done, position + done)
            if not count:
                break
            done += count
    except OSError as error:
        if error.errno not in _NO_COPY:
            raise
    while done < length:
        piece = os.pread(source, min(length - done, 1 << 20), done)
        if not piece:
            raise OSError(errno.EIO, "the file is shorter than what was written to it")
        done += os.pwrite(target, piece, position + done)
