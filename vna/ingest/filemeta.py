"""The File Meta Information (PS3.10 7.1) of a file that may be broken, and what follows it, unread.

Nothing but group 0002 is read, and of that no more than a few kilobytes: an
object whose parsing kills the process is safe to look at in this way.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import xxhash

from vna.domain.file_range import FileRange

_MOST = 16384
_NAMES = MappingProxyType(
    {
        0x0002: "sop_class",  # MediaStorageSOPClassUID
        0x0003: "sop_instance",  # MediaStorageSOPInstanceUID
        0x0010: "transfer_syntax",  # TransferSyntaxUID
        0x0013: "implementation",  # ImplementationVersionName
    }
)
# Explicit VRs whose length field takes four bytes (PS3.5 7.1.2).
_LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"))


def _elements(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield element number, value and end of each element of group 0002."""
    place = 132
    while data[:_MOST][128:132] == b"DICM" and place + 8 <= len(data):
        group, element = struct.unpack_from("<HH", data, place)
        if group != 0x0002:
            return
        if data[place + 4 : place + 6] in _LONG:
            if place + 12 > len(data):
                return
            (length,) = struct.unpack_from("<I", data, place + 8)
            place += 12
        else:
            (length,) = struct.unpack_from("<H", data, place + 6)
            place += 8
        yield element, data[place : place + min(length, 64)], place + length
        place += length


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def peek(path: Path | FileRange) -> dict[str, str]:
    """Return what group 0002 tells, as far as it can be read; empty if it is not a Part-10 file."""
    with path.open("rb") if isinstance(path, Path) else path.open() as file:
        data = file.read(_MOST)
    return {_NAMES[element]: _text(value) for element, value, _end in _elements(data) if element in _NAMES}


def content_digest(file: BinaryIO, buffer: memoryview | None = None) -> tuple[str, int]:
    """Return the digest of what an instance is, and the length of its file; see :func:`digest_and_checksum`."""
    digest, size, _checksum = digest_and_checksum(file, buffer)
    return digest, size


def digest_and_checksum(file: BinaryIO, buffer: memoryview | None = None) -> tuple[str, int, int]:
    """Return the digest of what an instance is, and the length and the checksum of its file.

    The same data set in the same transfer syntax is the same content, whoever
    sent it and however: the File Meta Information names the sender, so it does
    not count.

    Parameters
    ----------
    file
        The file, at its start.
    buffer
        Memory to read into, at least 16 KiB; made if not given.

    Returns
    -------
    tuple
        SHA-256 (64 hex digits) of the Transfer Syntax UID, a zero byte, and the
        data set as it is in the file, or of a zero byte and the whole file if it
        has no File Meta Information that can be passed over; the length of the
        file in bytes; and the XXH3 (64 bits) of all of it.
    """
    into = buffer or memoryview(bytearray(1 << 20))
    size = 0
    sha = hashlib.sha256()
    checksum = xxhash.xxh3_64()
    # Not a mapping: its pages would count as memory of this process, and a torn file would kill it.
    while count := file.readinto(into):  # type: ignore[attr-defined]  # of every binary file
        start = 0
        if not size:
            start, syntax = _start(bytes(into[: min(count, _MOST)]))
            sha.update(syntax.encode() + b"\0")
        sha.update(into[start:count])
        checksum.update(into[:count])
        size += count
    return sha.hexdigest(), size, checksum.intdigest()


def digest_of(data: bytes) -> str:
    """Return what :func:`content_digest` does, of bytes in memory."""
    start, syntax = _start(data[:_MOST])
    sha = hashlib.sha256(syntax.encode() + b"\0")
    sha.update(memoryview(data)[start:])
    return sha.hexdigest()


def _start(data: bytes) -> tuple[int, str]:
    """Return where the data set starts in a file that starts so, and its transfer syntax."""
    start, syntax = 0, ""
    for element, value, end in _elements(data):
        start = end
        if element == 0x0010:
            syntax = _text(value)
    # Longer than what was looked at, or cut: the file counts as it is.
    return (start, syntax) if start <= len(data) else (0, "")
