"""A run of bytes within a file, with the checksum that they have had since they were received."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import xxhash

from vna.domain.errors import IntegrityError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes ``offset`` to ``offset + length`` of a file.

    Attributes
    ----------
    path
        The file.
    offset, length
        Where the bytes begin, and how many they are.
    checksum
        XXH3 (64 bits) of the bytes as their first owner had them; ``None`` if nobody knows. Whoever hands them
        on compares.
    """

    path: Path
    offset: int
    length: int
    checksum: int | None = None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the bytes as a buffered file of their own; raises ``OSError`` as :func:`open` does."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield cast("BinaryIO", io.BufferedReader(FileSlice(fd, self.offset, self.length)))
        finally:
            os.close(fd)

    def read(self) -> bytes:
        """Return the bytes, compared with their checksum. For small ranges.

        Raises
        ------
        IntegrityError
            There are fewer bytes, or other bytes.
        OSError
            They cannot be read.
        """
        with self.open() as file:
            data = file.read(self.length)
        if len(data) != self.length:
            raise IntegrityError(f"{self}: {len(data)} bytes are there")
        if self.checksum is not None and xxhash.xxh3_64_intdigest(data) != self.checksum:
            raise IntegrityError(f"{self}: the bytes are not those that were received")
        return data

    def check(self) -> None:
        """Compare the bytes with their checksum, piece by piece.

        Raises
        ------
        IntegrityError
            There are fewer bytes, or other bytes.
        OSError
            They cannot be read.
        """
        digest = xxhash.xxh3_64()
        size = 0
        with self.open() as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        if size != self.length or (self.checksum is not None and digest.intdigest() != self.checksum):
            raise IntegrityError(f"{self}: the bytes are not those that were received")

    def __str__(self) -> str:
        return f"{self.path}, {self.length} bytes from {self.offset}"


class FileSlice(io.RawIOBase):
    """A part of a file, read by position: slices of one descriptor can be read by many threads.

    Parameters
    ----------
    descriptor
        The file, which stays open for as long as the slice is read, and stays the caller's.
    start, length
        The part.
    """

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._length = length
        self._at = 0

    def __len__(self) -> int:
        return self._length

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the position within the slice."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the slice."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = min(base + offset, self._length)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer."""
        view = memoryview(buffer).cast("B")[: self._length - self._at]
        read = os.preadv(self._descriptor, [view], self._start + self._at) if view else 0
        self._at += read
        return read
