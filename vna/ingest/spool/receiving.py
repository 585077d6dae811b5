"""One instance on its way into the spool."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self, cast

import xxhash

from vna.domain.errors import OutOfResourcesError
from vna.domain.file_range import FileSlice
from vna.domain.origin import Origin, now_us
from vna.files import write_all
from vna.ingest.spool.entry import Fate, Kind, SpoolEntry, make_name
from vna.ingest.spool.layout import Slot
from vna.ingest.spool.segment import Segment, start_writing

if TYPE_CHECKING:
    from vna.ingest.spool.room import Spool

# The disk is kept at work while the rest of an instance arrives.
_WRITE_BEHIND = 128 << 10
# A large instance looks at the free disk again after so many bytes.
_LOOK_AGAIN = 64 << 20
_PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


class SpoolFile:
    """An instance being received. Leaving the block without :meth:`seal` leaves nothing behind.

    It begins in a segment that the spool lends, and moves to a file of its own if it grows beyond what a segment
    takes; without a segment it begins there.
    """

    def __init__(self, spool: Spool, origin: Origin, kind: Kind = Kind.INSTANCE, fate: Fate = Fate.COMMIT) -> None:
        self._spool = spool
        self._origin = origin
        self._kind = kind
        self._fate = fate
        self._nonce = os.urandom(6).hex()
        self._checksum = xxhash.xxh3_64()
        self._sealed = False
        self._part = ""
        self._fd = -1
        self._start = 0
        self._written = 0
        self._look_at = _LOOK_AGAIN
        self._segment: Segment | None = spool.pool.lend()
        if self._segment is not None:
            self._fd = self._segment.fd
            self._start = self._position = self._written = self._segment.position
            self._most = spool.largest_small
        else:
            self._open_part()

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._position - self._start

    def _open_part(self) -> None:
        # Texts, not paths: to build a path costs more than to open the file.
        self._part = f"{self._spool.partial}/{self._nonce}"
        try:
            self._fd = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise out_of(error) from error
        self._start = self._position = self._written = 0
        self._most = 1 << 62

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; raises ``OutOfResourcesError`` when the disk is full."""
        size = len(data)
        if self.length + size > self._most:
            self._move()
        self._checksum.update(data)
        try:
            write_all(self._fd, data, self._position)
        except OSError as error:
            self._failed(error)
            raise out_of(error) from error
        self._position += size
        if self._position - self._written >= _WRITE_BEHIND:
            self._write_behind()

    def _failed(self, error: OSError) -> None:
        """Have nobody write to the same place again, of which the disk is said to be bad."""
        if self._segment is not None:
            self._segment.poison()
            self._spool.note_trouble(error)

    def _write_behind(self) -> None:
        start_writing(self._fd, self._written, self._position - self._written)
        self._written = self._position
        if self._segment is None and self.length >= self._look_at:
            self._look_at = self.length + _LOOK_AGAIN
            self._spool.check_space()

    def _move(self) -> None:
        """Move what came so far out of the segment into a file of its own."""
        segment, start, length = self._segment, self._start, self.length
        assert segment is not None
        self._open_part()
        try:
            for at in range(0, length, _PIECE):
                piece = os.pread(segment.fd, min(_PIECE, length - at), start + at)
                write_all(self._fd, piece, at)
        except OSError as error:
            segment.poison()
            self._spool.note_trouble(error)
            raise out_of(error) from error
        finally:
            self._segment = None
            self._spool.pool.give_back(segment)
        self._position = length

    def reading(self) -> BinaryIO:
        """Open what was written so far, as a file of its own; it is good until this one is closed."""
        return cast("BinaryIO", io.BufferedReader(FileSlice(self._fd, self._start, self.length), 1 << 15))

    def seal(self, received_us: int | None = None) -> SpoolEntry:
        """Return when the instance is durable: from here on the archive answers for it.

        Parameters
        ----------
        received_us
            When it was received, if not now; microseconds since 1970 UTC.

        Raises
        ------
        OutOfResourcesError
            It is not durable; nothing may be acknowledged.
        """
        checksum = self._checksum.intdigest()
        received, length = now_us() if received_us is None else received_us, self.length
        segment = self._segment
        place = "f" if segment is None else f"{segment.header.number:012x}-{segment.used:x}"
        name = make_name(received, self._nonce, length, checksum, place, self._kind, self._fate, self._origin)
        try:
            if segment is None:
                self._spool.files.take_in(self._part, self._fd, name)
            else:
                segment.seal(Slot(segment.header.generation, self._start, length, checksum, name))
        except OSError as error:
            self._spool.note_trouble(error)
            raise out_of(error) from error
        self._sealed = True
        return SpoolEntry(
            name,
            received,
            length,
            self._origin,
            checksum,
            -1 if segment is None else segment.header.number,
            -1 if segment is None else segment.used - 1,
            self._kind,
            self._fate,
        )

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what was not sealed."""
        self.close()

    def close(self) -> None:
        """Give up what was not sealed, and the place that it had."""
        segment, self._segment = self._segment, None
        fd, self._fd = self._fd, -1
        if segment is not None:
            self._spool.pool.give_back(segment)
        elif fd >= 0:
            os.close(fd)
            if not self._sealed:
                # What a disk that fails does not let go of is removed when nobody has written to it for long.
                with contextlib.suppress(OSError):
                    os.unlink(self._part)


def out_of(error: OSError) -> OutOfResourcesError:
    """Return the archive's error for one of the operating system."""
    what = "no space or no file handle left" if error.errno in _FULL else "write failed"
    return OutOfResourcesError(f"spool: {what}: {error}")
