"""Writing a segment: one process owns it, and one instance at a time is received into it.

So there is never a hole: an instance begins where the last acknowledged one
ends, and one that is given up leaves nothing behind but bytes that the next one
writes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from pathlib import Path
from typing import Self

from vna.domain.origin import now_us
from vna.files import write_all
from vna.ingest.spool.layout import (
    CLOSED,
    POISONED,
    SECTOR,
    SLOTS_AT,
    Header,
    Note,
    Slot,
    on_page,
    pack_note,
    pack_slot,
    slots_of,
)
from vna.ingest.spool.reading import NotASegmentError, SegmentReader

SUFFIX = ".seg"
_ZEROS = bytes(1 << 20)
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None)
_start_writing = getattr(_libc, "sync_file_range", None)


class Segment:
    """A segment that this process owns, by a lock that the kernel lifts when the process dies."""

    def __init__(self, path: Path, fd: int, header: Header) -> None:
        self.path = path
        self.fd = fd
        self.header = header
        self.position = header.data_at
        self.used = 0
        self.poisoned = False

    @classmethod
    def make(cls, folder: Path, size: int) -> Self:
        """Make a segment, written full of zeros; its bytes are durable, its name is not yet.

        Raises ``OSError``; then nothing is left behind.
        """
        number = int.from_bytes(os.urandom(6), "big")
        # Under its own name only when it is whole: nobody takes a half-made one for a damaged one.
        draft = folder / f".{number:012x}"
        path = folder / f"{number:012x}{SUFFIX}"
        fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A full disk is told before it is filled.
            os.posix_fallocate(fd, 0, size)
            for offset in range(0, size, len(_ZEROS)):
                write_all(fd, _ZEROS[: size - offset], offset)
            # Of two generations from the beginning: one that cannot be read is then a sign of damage.
            for generation in (0, 1):
                header = Header(generation, number, size, slots_of(size), now_us())
                write_all(fd, header.pack(), header.place)
            os.fsync(fd)
            os.rename(draft, path)
        except BaseException:
            for left in (draft, path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(left)
            os.close(fd)
            raise
        return cls(path, fd, header)

    @classmethod
    def take(cls, path: Path, size: int) -> Self | None:
        """Own a segment in which nothing waits, and begin a new generation of it.

        Returns ``None`` if somebody owns it, if something in it waits, or if it is of another size or poisoned.
        Raises ``OSError`` if it cannot be written, ``NotASegmentError`` for what is no segment.
        """
        try:
            reader = SegmentReader(path)
        except FileNotFoundError:
            return None
        keep = False
        try:
            if not own(reader.fd):
                return None
            header = reader.header()
            if header.size != size or reader.note(header).flags & POISONED or not reader.drained():
                return None
            segment = cls(path, reader.fd, header)
            segment.renew()
            keep = True
            return segment
        finally:
            if not keep:
                reader.close()

    def renew(self) -> None:
        """Begin a new generation: durably, what the old one held never comes back."""
        old = self.header
        new = Header(old.generation + 1, old.number, old.size, old.slots, now_us())
        write_all(self.fd, new.pack(), new.place)
        os.fdatasync(self.fd)
        self.header = new
        self.position = new.data_at
        self.used = 0

    @property
    def room(self) -> int:
        """Bytes that an instance may have; 0 if there is no slot left."""
        if self.poisoned or self.used >= self.header.slots:
            return 0
        return self.header.size - self.position

    def seal(self, slot: Slot) -> None:
        """Write an instance's slot, and return when it and its bytes are durable.

        Raises
        ------
        OSError
            They are not, and nobody may say that they are, later either: the kernel tells of a failed write once,
            and takes the pages for clean. The segment is poisoned.
        """
        number = self.used
        place = SLOTS_AT + number * SECTOR
        try:
            write_all(self.fd, pack_slot(slot), place)
            os.fdatasync(self.fd)
        except OSError:
            self.poison(place)
            raise
        self.used = number + 1
        self.position = on_page(slot.offset + slot.length)

    def poison(self, slot_at: int | None = None) -> None:
        """Never write to it again, and have it removed once nothing in it waits."""
        self.poisoned = True
        if slot_at is not None:
            with contextlib.suppress(OSError):
                write_all(self.fd, bytes(SECTOR), slot_at)
        with contextlib.suppress(OSError):
            self._write_note(POISONED | CLOSED)

    def _write_note(self, flags: int) -> None:
        os.pwrite(self.fd, pack_note(self.header, Note(flags, self.used)), self.header.place + SECTOR)
        os.fdatasync(self.fd)

    def close(self, *, full: bool = False) -> None:
        """Give it up: to the workers, and when nothing in it waits to whoever needs one."""
        if self.fd < 0:
            return
        if full and not self.poisoned:
            with contextlib.suppress(OSError):  # a hint, no more
                self._write_note(CLOSED)
        os.close(self.fd)
        self.fd = -1


def own(fd: int) -> bool:
    """Lock a segment for this process; ``False`` if another one owns it, or somebody has removed it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(fd).st_nlink > 0


def remove_if_drained(path: Path) -> bool:
    """Remove a segment that nobody owns and in which nothing waits; return whether it was removed."""
    try:
        reader = SegmentReader(path)
    except FileNotFoundError:
        return False
    try:
        if own(reader.fd) and reader.drained():
            os.unlink(path)
            return True
    except NotASegmentError:
        return False
    finally:
        reader.close()
    return False


def remove_draft(path: Path) -> None:
    """Remove a segment that was being made by a process which has died; raises ``OSError``."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if own(fd):
            os.unlink(path)
    finally:
        os.close(fd)


def start_writing(fd: int, position: int, length: int) -> None:
    """Have the kernel begin to write a stretch of a file to the disk. A hint: what fails is told by the sync."""
    if _start_writing is not None:
        _start_writing(fd, ctypes.c_int64(position), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE)
