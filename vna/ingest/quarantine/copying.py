"""Reading bytes once, whatever can be read of them, and knowing which they were."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import xxhash

from vna.domain.file_range import FileRange

_PIECE = 1 << 20
_PAGE = 4096
# What disks and file systems say of a place that they cannot read. Other errors are of the machine.
_UNREADABLE = (errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA, errno.EILSEQ)


@dataclass(frozen=True, slots=True)
class Copied:
    """Which bytes were read.

    Attributes
    ----------
    size, digest, checksum
        Length, SHA-256 and XXH3 (64 bits) of them.
    unreadable
        How many of them could not be read, and are zeros.
    """

    size: int
    digest: str
    checksum: int
    unreadable: int = 0


class Sink(Protocol):
    """Where bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""


def copy(parts: Iterable[tuple[bytes, int]], into: Sink | None = None) -> Copied:
    """Write parts to a file, if one is given, and return which bytes they were."""
    sha = hashlib.sha256()
    checksum = xxhash.xxh3_64()
    size = unreadable = 0
    for data, bad in parts:
        sha.update(data)
        checksum.update(data)
        size += len(data)
        unreadable += bad
        if into is not None:
            into.write(data)
    return Copied(size, sha.hexdigest(), checksum.intdigest(), unreadable)


def parts_of(source: FileRange | Path) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes in parts, each with how many of them could not be read.

    Those are zeros, page by page, so that no bad sector of a disk holds up an entry for ever.
    Raises ``OSError`` for all else that goes wrong.
    """
    fd = os.open(source if isinstance(source, Path) else source.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.fstat(fd).st_size
        at = 0
        if isinstance(source, FileRange):
            at, end = source.offset, min(end, source.offset + source.length)
        while at < end:
            data, bad = _read(fd, at, min(end, at - at % _PIECE + _PIECE))
            if not data:
                return
            yield data, bad
            at += len(data)
    finally:
        os.close(fd)


def _read(fd: int, at: int, end: int) -> tuple[bytes, int]:
    try:
        return _read_at(fd, at, end - at), 0
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
    pages = bytearray()
    bad = 0
    while at < end:
        until = min(end, at - at % _PAGE + _PAGE)
        try:
            page = _read_at(fd, at, until - at)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            page = bytes(until - at)
            bad += len(page)
        if not page:
            break
        pages += page
        at += len(page)
    return bytes(pages), bad


def _read_at(fd: int, at: int, length: int) -> bytes:
    buffer = bytearray(length)
    return bytes(memoryview(buffer)[: os.preadv(fd, [buffer], at)])
