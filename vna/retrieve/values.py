"""Bulk values of a stored instance, by ranges of its bytes."""

from __future__ import annotations

from collections.abc import Iterator

from vna.dicom.elements import EXPLICIT_BIG, Inflater
from vna.dicom.header import Bulk
from vna.dicom.rewrite import swapped, unit_of
from vna.domain.errors import IntegrityError
from vna.ingest.document import Metadata
from vna.ports.objects import ObjectReader

_CHUNK = 1 << 20


class ValueReader:
    """Reads ranges of the values of one instance, little endian whatever the instance is stored in.

    Ranges of a deflated instance are best asked for in rising order: it is
    inflated once then.

    Parameters
    ----------
    objects
        Where the instance is.
    metadata
        Its metadata.
    """

    def __init__(self, objects: ObjectReader, metadata: Metadata) -> None:
        self._objects = objects
        self._key = metadata.key
        self._size = metadata.size
        self._deflated = metadata.header.deflated
        self._big = metadata.header.transfer_syntax == EXPLICIT_BIG
        self._inflated: _Inflated | None = None

    def read(
        self, bulk: Bulk, start: int = 0, length: int | None = None, *, unit: int | None = None
    ) -> Iterator[bytes]:
        """Yield bytes of a value that is not encapsulated.

        Parameters
        ----------
        bulk
            Where the value is.
        start, length
            Which of its bytes; to the end by default.
        unit
            Bytes of a number, where the VR alone does not tell.

        Raises
        ------
        IntegrityError
            The stored object ends before the value does.
        """
        length = bulk.length - start if length is None else length
        unit = (unit or unit_of(bulk.vr)) if self._big else 1
        if unit == 1:
            yield from self._raw(bulk.offset + start, length)
            return
        # Whole units are read, so that they can be turned; the rest is cut off again.
        first = start // unit * unit
        last = min(bulk.length, (start + length + unit - 1) // unit * unit)
        cut, left = start - first, length
        for piece in _whole(self._raw(bulk.offset + first, last - first), unit):
            turned = swapped(piece, unit)[cut : cut + left]
            cut = max(0, cut - len(piece))
            left -= len(turned)
            if turned:
                yield turned

    def bytes_at(self, offset: int, length: int) -> bytes:
        """Return bytes of the object as it is stored, for small lengths."""
        return b"".join(self._raw(offset, length))

    def fragments(self, spans: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
        """Yield the bytes of fragments one after the other."""
        for offset, length in spans:
            yield from self._raw(offset, length)

    def _raw(self, offset: int, length: int) -> Iterator[bytes]:
        if length <= 0:
            return
        left = length
        for piece in self._pieces(offset, length):
            left -= len(piece)
            yield piece
        if left:
            raise IntegrityError(f"object {self._key} ends {left} bytes before a value of it does")

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        if not self._deflated:
            yield from self._objects.stream(self._key, offset, length, _CHUNK)
            return
        if self._inflated is None or self._inflated.position > offset:
            self._inflated = _Inflated(self._objects, self._key)
        yield from self._inflated.read(offset, length)


class _Inflated:
    """A deflated object as if it stood there inflated, forward only."""

    def __init__(self, objects: ObjectReader, key: str) -> None:
        head = b"".join(objects.stream(key, 0, 1 << 16))
        start = _data_set_start(head)
        self._stream = Inflater(_Stream(objects.stream(key, start)))
        self.position = start

    def read(self, offset: int, length: int) -> Iterator[bytes]:
        while self.position < offset and (piece := self._stream.read(min(_CHUNK, offset - self.position))):
            self.position += len(piece)
        end = offset + length
        while self.position < end and (piece := self._stream.read(min(_CHUNK, end - self.position))):
            self.position += len(piece)
            yield piece


def _data_set_start(head: bytes) -> int:
    """Return where the data set begins, by the File Meta Information (PS3.10 7.1)."""
    position = 132
    while head[position : position + 2] == b"\x02\0":
        if head[position + 4 : position + 6] in {b"OB", b"UN", b"UR", b"UT", b"UC"}:
            position += 12 + int.from_bytes(head[position + 8 : position + 12], "little")
        else:
            position += 8 + int.from_bytes(head[position + 6 : position + 8], "little")
    return position


class _Stream:
    """An iterator of pieces, read as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""

    def read(self, size: int, /) -> bytes:
        if not self._piece:
            self._piece = next(self._pieces, b"")
        data, self._piece = self._piece[:size], self._piece[size:]
        return data


def _whole(pieces: Iterator[bytes], unit: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of whole units, what is left at the end of all in one more."""
    rest = b""
    for piece in pieces:
        joined = rest + piece
        size = len(joined) // unit * unit
        rest = joined[size:]
        if size:
            yield joined[:size]
    if rest:
        yield rest
