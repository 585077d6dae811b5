"""Ranges of files as sources: what is handed on is compared as it is handed on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import xxhash

from vna.domain.errors import IntegrityError
from vna.domain.file_range import FileRange

_PIECE = 4 << 20


def checked_pieces(descriptor: int, source: FileRange, piece: int = _PIECE) -> Iterator[bytes]:
    """Yield the bytes of a range of an open file in pieces, each read once.

    What is yielded is what was compared, whoever writes to the file meanwhile. When this ends without an error,
    all of it was as it should be; before that, none of it counts. Of a range that is one piece, nothing is
    yielded unless it is right.

    Raises
    ------
    IntegrityError
        There are fewer bytes, or other bytes.
    OSError
        They cannot be read.
    """
    digest = xxhash.xxh3_64()
    start, end = source.offset, source.offset + source.length
    while start < end:
        data = os.pread(descriptor, min(piece, end - start), start)
        if not data:
            raise IntegrityError(f"{source}: {start - source.offset} bytes are there")
        start += len(data)
        if source.checksum is not None:
            digest.update(data)
            if start == end:
                compare(source, digest.intdigest())
        yield data
    if source.length == 0 and source.checksum is not None:
        compare(source, digest.intdigest())


def compare(source: FileRange, found: int) -> None:
    """Raise ``IntegrityError`` if the XXH3 of the bytes that were read is not that of the range."""
    if source.checksum is not None and found != source.checksum:
        raise IntegrityError(f"{source}: the bytes are not those that were received")


def read_checked(source: FileRange) -> bytes:
    """Return the bytes of a range, compared; for small ones. Raises as :func:`checked_pieces`."""
    descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(checked_pieces(descriptor, source))
    finally:
        os.close(descriptor)
