"""The spool's log: makes small instances durable without a commit of the file system's journal.

To make a new file durable the file system commits its journal, together with
whatever else is under way in it, the workers' files for instance. Bytes that
overwrite blocks which are allocated and written already need no commit. So a
gateway copies each small instance into a segment, a file that is written full
of zeros beforehand and used again and again, and syncs that; the instance's own
file, which the workers take, follows at the file system's leisure.

A segment may be used again when everything that it holds is durable elsewhere,
which one ``syncfs`` in the background sees to. After a power cut the files may
be short or gone: whoever opens the spool next writes them anew from the
segments. After the death of a process alone, nothing is lost from the page
cache, so the segments are dropped after a ``syncfs``.

A segment is a page of header and then records, each on a page of its own: a
head, the entry's name, its bytes. A record counts if its generation is the
segment's and its checksum is right: one that was cut short was never
acknowledged.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import xxhash

_PAGE = 4096
_MAGIC = b"VNASEG01"
# Magic, generation, identity of the boot.
_SEGMENT = struct.Struct("<8sQ36s")
# Generation, length of the bytes, their checksum, length of the name, checksum of all that.
_RECORD = struct.Struct("<QQQHI")
_NAME_MOST = 255
_RETRY_SECONDS = 10.0
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


class _Segment:
    """One file of the log. ``users`` counts the appends that are under way."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.generation = 0
        self.position = _PAGE
        self.users = 0
        self.fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for offset in range(0, size, len(_ZEROS)):
                os.pwrite(self.fd, _ZEROS[: size - offset], offset)
            self.renew()
            os.fsync(self.fd)
        except BaseException:
            self.drop()
            raise
        self.rounds = Rounds(lambda: os.fdatasync(self.fd))

    def renew(self) -> None:
        """Forget the records. Not durable before the next sync, which is the first record's."""
        self.generation += 1
        self.position = _PAGE
        os.pwrite(self.fd, _SEGMENT.pack(_MAGIC, self.generation, boot_identity()), 0)

    def drop(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        os.close(self.fd)


class SpoolLog:
    """The log of one process. Safe for use by many threads; makes nothing before the first append.

    Parameters
    ----------
    folder
        Where the segments are; made beforehand.
    sync_all
        Makes everything in the spool's file system durable.
    sync_folder
        Makes the names in ``folder`` durable.
    segment_bytes, most
        Size of a segment, and how many there are at most.
    """

    def __init__(
        self,
        folder: Path,
        sync_all: Callable[[], None],
        sync_folder: Callable[[Path], None],
        *,
        segment_bytes: int = 64 << 20,
        most: int = 4,
    ) -> None:
        self._folder = folder
        self._sync_all = sync_all
        self._sync_folder = sync_folder
        self._size = segment_bytes
        self._most = most
        self._lock = threading.Condition()
        self._current: _Segment | None = None
        self._free: list[_Segment] = []
        self._full: list[_Segment] = []
        self._cleaner: threading.Thread | None = None
        self._no_room_until = 0.0
        self._closed = False

    def append(self, name: str, fd: int, length: int, checksum: int) -> bool:
        """Copy an entry's bytes into the log, and return when they are durable there.

        Parameters
        ----------
        name
            Name of the entry.
        fd, length, checksum
            Its file, open for reading, the number of its bytes, and their XXH3 (64 bits).

        Returns
        -------
        bool
            ``False`` if there is no room at present: the caller makes the file itself durable.

        Raises
        ------
        OSError
            The bytes are not durable.
        """
        label = name.encode()
        space = -(-(_RECORD.size + len(label) + length) // _PAGE) * _PAGE
        if space > self._size - _PAGE or len(label) > _NAME_MOST:
            return False
        with self._lock:
            segment = self._with_room(space)
            if segment is None:
                return False
            position = segment.position
            segment.position += space
            segment.users += 1
            generation = segment.generation
        try:
            fields = struct.pack("<QQQH", generation, length, checksum, len(label))
            head = fields + zlib.crc32(fields + label).to_bytes(4, "little") + label
            os.pwrite(segment.fd, head, position)
            _copy(fd, segment.fd, length, position + len(head))
            segment.rounds.wait()
        finally:
            with self._lock:
                segment.users -= 1
                self._lock.notify_all()
        return True

    def _with_room(self, space: int) -> _Segment | None:
        segment = self._current
        if segment is not None and segment.position + space <= segment.size:
            return segment
        if self._closed:
            return None
        if segment is not None:
            self._full.append(segment)
            self._current = None
            self._clean()
        if self._free:
            self._current = self._free.pop()
        elif len(self._full) < self._most and time.monotonic() > self._no_room_until:
            self._current = self._make()
        return self._current

    def _make(self) -> _Segment | None:
        try:
            segment = _Segment(self._folder / f"{os.getpid()}-{os.urandom(6).hex()}", self._size)
        except OSError:
            # A short disk may still have room for the instance itself.
            self._no_room_until = time.monotonic() + _RETRY_SECONDS
            return None
        try:
            self._sync_folder(self._folder)
        except BaseException:
            segment.drop()
            raise
        return segment

    def _clean(self) -> None:
        if self._cleaner is None:
            self._cleaner = threading.Thread(target=self._run, name="spool-log", daemon=True)
            self._cleaner.start()
        self._lock.notify_all()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._closed and not (self._full and not self._full[0].users):
                    self._lock.wait()
                if self._closed:
                    return
                segment = self._full[0]
            try:
                self._sync_all()
            except Exception:  # noqa: BLE001 - the segment stays full; entries take the longer way meanwhile
                with self._lock:
                    self._lock.wait(1)
                continue
            segment.renew()
            with self._lock:
                self._full.remove(segment)
                self._free.append(segment)

    def close(self) -> None:
        """Make durable what the log stands for, and remove the segments."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.notify_all()
        if self._cleaner is not None:
            self._cleaner.join()
        segments = [*self._full, *self._free, *([self._current] if self._current else [])]
        self._current = None
        if segments:
            self._sync_all()
        for segment in segments:
            segment.drop()


@dataclass(frozen=True, slots=True)
class Record:
    """One entry in a segment that a dead process left: its name, and where its bytes are."""

    name: str
    offset: int
    length: int


def recover(folder: Path, restore: Callable[[str, int, int, int], None], sync_all: Callable[[], None]) -> int:
    """See to the segments of dead processes; return how many entries were restored.

    Those of this boot are dropped after ``sync_all``: the page cache holds all
    that they stand for. The entries of an earlier boot are given to
    ``restore(name, fd, offset, length)``, which makes a file of each that is not
    there whole; one that was stored long ago is stored once more, as a duplicate.
    """
    restored = 0
    left = []
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)  # its process lives
                continue
            left.append((path, fd))
    try:
        for _path, fd in left:
            if _boot_of(fd) != boot_identity():
                for record in records(fd):
                    restore(record.name, fd, record.offset, record.length)
                    restored += 1
        if left:
            sync_all()
        for path, _fd in left:
            path.unlink(missing_ok=True)
    finally:
        for _path, fd in left:
            os.close(fd)
    return restored


def _boot_of(fd: int) -> bytes:
    head = os.pread(fd, _SEGMENT.size, 0)
    return _SEGMENT.unpack(head)[2] if len(head) == _SEGMENT.size else b""


def records(fd: int) -> Iterator[Record]:
    """Yield the whole records of a segment, in order; the first place where no record begins ends it."""
    head = os.pread(fd, _SEGMENT.size, 0)
    if len(head) < _SEGMENT.size or not head.startswith(_MAGIC):
        return
    generation = _SEGMENT.unpack(head)[1]
    position = _PAGE
    while len(data := os.pread(fd, _RECORD.size + _NAME_MOST, position)) > _RECORD.size:
        of, length, checksum, size, head_checksum = _RECORD.unpack_from(data)
        label = data[_RECORD.size : _RECORD.size + size]
        if of != generation or zlib.crc32(data[: _RECORD.size - 4] + label) != head_checksum:
            return
        offset = position + _RECORD.size + size
        # Appends of several threads are written in any order: one that is not whole may be followed by one that is.
        if _checksum(fd, offset, length) == checksum:
            yield Record(label.decode(), offset, length)
        position += -(-(_RECORD.size + size + length) // _PAGE) * _PAGE


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
