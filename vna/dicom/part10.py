"""The beginning of a Part-10 file (PS3.10 7): its meta information, and what identifies the object in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from vna.dicom.elements import IMPLICIT_LITTLE, ElementReader, Encoding, Inflater, Readable
from vna.domain.errors import UnparsableError


@dataclass(frozen=True, slots=True)
class Head:
    """What identifies an object: read before it is decided whether to keep it.

    ``media_class`` and ``media_instance`` are of the File Meta Information, the
    others of the data set; a UID that is not there is empty.
    """

    transfer_syntax: str
    media_class: str
    media_instance: str
    sop_class: str
    sop_instance: str
    study: str
    series: str


_META = {0x00020002: "media_class", 0x00020003: "media_instance", 0x00020010: "transfer_syntax"}
_DATA = {0x00080016: "sop_class", 0x00080018: "sop_instance", 0x0020000D: "study", 0x0020000E: "series"}
_LAST = 0x0020000E
_MAX_ELEMENTS = 100_000


def open_data_set(source: BinaryIO) -> tuple[dict[int, bytes], ElementReader]:
    """Read the preamble and the File Meta Information (PS3.10 7.1) of a Part-10 file.

    Returns
    -------
    tuple
        The meta information's values by tag, and a reader that stands at the data set's first element.

    Raises
    ------
    UnparsableError
        It is no Part-10 file.
    """
    preamble = source.read(132)
    if preamble[128:] != b"DICM":
        raise UnparsableError("not a DICOM Part 10 file: no DICM after a preamble of 128 bytes")
    meta = ElementReader(source, Encoding(explicit=True, little=True))
    values: dict[int, bytes] = {}
    size = 0
    while meta.peek(2) == b"\x02\x00":
        element = meta.next()
        assert element is not None
        size += element.length + 12
        if size > 1 << 20:
            raise UnparsableError("the File Meta Information is longer than 1 MiB")
        values[element.tag] = meta.read(element.length)
    syntax = text_of(values.get(0x00020010, b"")) or IMPLICIT_LITTLE
    encoding = Encoding.of(syntax)
    rest: Readable = _Joined(meta.peek(8), source)
    reader = ElementReader(Inflater(rest) if encoding.deflated else rest, encoding, 132 + meta.position)
    reader.detect()
    return values, reader


class _Joined:
    """Bytes that were read ahead, and what follows them."""

    def __init__(self, ahead: bytes, source: BinaryIO) -> None:
        self._ahead = ahead
        self._source = source

    def read(self, size: int, /) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._source.read(size)

    def seek(self, offset: int, whence: int = 1) -> None:
        """Pass over bytes."""
        assert whence == 1
        self._source.seek(offset - len(self._ahead), 1)
        self._ahead = b""


def text_of(value: bytes) -> str:
    """Return the text of a UID's value, without padding."""
    return value.decode("latin-1").strip(" \0\t\r\n")


def read_head(source: BinaryIO) -> Head:
    """Read what identifies an object, and no more of it than needed.

    Raises
    ------
    UnparsableError
        It is no Part-10 file, or its data set cannot be followed up to Series Instance UID (0020,000E).
    """
    values, reader = open_data_set(source)
    found = {name: text_of(values.get(tag, b"")) for tag, name in _META.items()}
    found |= dict.fromkeys(_DATA.values(), "")
    for _ in range(_MAX_ELEMENTS):
        element = reader.next()
        if element is None or element.tag > _LAST:
            break
        name = _DATA.get(element.tag)
        if name and element.length <= 256:
            found[name] = text_of(reader.read(element.length))
        else:
            reader.skip_value(element)
    return Head(**found)
