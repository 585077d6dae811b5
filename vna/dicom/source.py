"""Where the bytes of a data set come from: a file, or a deflated stream in a file. Memory stays flat."""

from __future__ import annotations

import os
import zlib
from typing import Protocol

from vna.domain.errors import UnparsableError

ENDLESS = 1 << 62
_PIECE = 1 << 16
# Past this many inflated bytes a stream that inflates more than so many times is taken for a bomb. Segmentations,
# mostly zero, do inflate a thousand times (PS3.5 A.5 is meant for them), hence the large allowance.
_FREE_BYTES = 256 << 20
_FREE_RATIO = 250
_MOST_BYTES = 8 << 30


class Source(Protocol):
    """Bytes by position. Positions asked for never go back behind an earlier one."""

    end: int

    def pread(self, size: int, pos: int) -> bytes:
        """Return up to ``size`` bytes at ``pos``; fewer only at the end, which ``end`` then tells."""
        ...


class FileSource:
    """The bytes of an open file.

    Parameters
    ----------
    fd
        Descriptor, open for reading.
    offset, length
        Where in the file the bytes begin that are meant, and how many they are; without them all of the file.
    """

    __slots__ = ("_fd", "_offset", "end")

    def __init__(self, fd: int, offset: int = 0, length: int | None = None) -> None:
        self._fd = fd
        self._offset = offset
        self.end = os.fstat(fd).st_size - offset if length is None else length

    def pread(self, size: int, pos: int) -> bytes:
        """Return up to ``size`` bytes at ``pos``."""
        if pos + size > self.end:
            size = max(0, self.end - pos)
        return os.pread(self._fd, size, self._offset + pos)


class MemorySource:
    """Bytes in memory."""

    __slots__ = ("_data", "end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.end = len(data)

    def pread(self, size: int, pos: int) -> bytes:
        """Return up to ``size`` bytes at ``pos``."""
        return self._data[pos : pos + size]


class InflateSource:
    """The inflated data set of a deflated one (PS3.5 A.5), in one forward pass.

    Parameters
    ----------
    source
        Where the deflated bytes are.
    start
        Where they begin; the first inflated byte has this position too.
    """

    def __init__(self, source: Source, start: int) -> None:
        self._source = source
        self._read = start
        self._consumed = 0
        self._window = bytearray()
        self._base = start
        self._start = start
        self.end = ENDLESS
        head = source.pread(2, start)
        # Some writers wrap the stream as zlib or gzip does, against PS3.5 A.5.
        wrapped = head == b"\x1f\x8b" or (len(head) == 2 and head[0] == 0x78 and int.from_bytes(head, "big") % 31 == 0)
        self._inflate = zlib.decompressobj(47 if wrapped else -zlib.MAX_WBITS)

    def pread(self, size: int, pos: int) -> bytes:
        """Return up to ``size`` inflated bytes at ``pos``, dropping what lies before."""
        while True:
            have = self._base + len(self._window)
            drop = min(pos, have) - self._base
            if drop > 0:
                del self._window[:drop]
                self._base += drop
            if have >= pos + size or self.end != ENDLESS:
                break
            self._more()
        at = pos - self._base
        return bytes(self._window[at : at + size])

    def _more(self) -> None:
        data = self._inflate.unconsumed_tail
        if not data:
            data = self._source.pread(_PIECE, self._read)
            self._read += len(data)
            self._consumed += len(data)
        try:
            piece = self._inflate.decompress(data, _PIECE)
        except zlib.error as error:
            if self._base + len(self._window) == self._start:
                raise UnparsableError(f"the deflated data set cannot be inflated: {error}") from error
            piece = b""
            data = b""
        self._window += piece
        made = self._base + len(self._window)
        if self._inflate.eof or (not data and not piece):
            self.end = made
        made -= self._start
        if made > _MOST_BYTES or (made > _FREE_BYTES and made > _FREE_RATIO * self._consumed):
            raise UnparsableError(
                f"the deflated data set inflates to more than {made >> 20} MiB from {self._consumed} bytes"
            )
