"""Data elements as they lie in a stream (PS3.5 7.1): tag, VR and length, one after the other.

For what must pass over a data set without decoding it: looking into the head of
an object that arrives, and rewriting one from a transfer syntax into another.
Memory does not grow with the values.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Protocol

from vna.dicom.dictionary import KNOWN_VRS, LONG_VRS, SHORT_VRS
from vna.domain.errors import UnparsableError

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG})
"""Transfer syntaxes whose pixel data is not encapsulated (PS3.5 A.1, A.2, A.3, A.5)."""

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
MAX_DEPTH = 64


class Readable(Protocol):
    """What elements are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a data set are written."""

    explicit: bool
    little: bool
    deflated: bool = False

    @classmethod
    def of(cls, transfer_syntax: str) -> Encoding:
        """Return the encoding of a transfer syntax; every encapsulated one is explicit little endian (PS3.5 A.4)."""
        return cls(
            explicit=transfer_syntax != IMPLICIT_LITTLE,
            little=transfer_syntax != EXPLICIT_BIG,
            deflated=transfer_syntax == DEFLATED,
        )


@dataclass(frozen=True, slots=True)
class Element:
    """Head of an element; its value follows in the stream. ``vr`` is empty where the stream does not tell it."""

    tag: int
    vr: bytes
    length: int

    @property
    def is_nested(self) -> bool:
        """Whether items follow, rather than a value or fragments."""
        return self.vr == b"SQ" or (self.length == UNDEFINED and self.vr in {b"UN", b""})


class Inflater:
    """Reads a deflated data set (PS3.5 A.5) as if it stood there inflated, with bounded memory."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._raw = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; raises ``UnparsableError`` for what was never deflated."""
        while not self._inflate.eof:
            if not self._raw:
                self._raw = self._source.read(64 * 1024)
            try:
                piece = self._inflate.decompress(self._raw, size)
            except zlib.error as error:
                raise UnparsableError(f"the deflated data set is broken: {error}") from error
            ended = not self._raw
            self._raw = self._inflate.unconsumed_tail
            if piece or ended:
                return piece
        return b""


class ElementReader:
    """Reads elements one after the other.

    Parameters
    ----------
    source
        Stands at the first element.
    encoding
        How they are written.
    start
        Offset in the file that ``position`` counts from.

    Raises
    ------
    UnparsableError
        From any method, when the stream ends within an element, or is no data set.
    """

    def __init__(self, source: Readable, encoding: Encoding, start: int = 0) -> None:
        self._source = source
        self._ahead = b""
        self.start = start
        self.position = 0
        # Values of this many bytes and more are passed over by seek where that can be done.
        self._seek = getattr(source, "seek", None)
        self.use(encoding)

    def use(self, encoding: Encoding) -> None:
        """Go on in another encoding."""
        self.encoding = encoding
        order = "<" if encoding.little else ">"
        self._tag = struct.Struct(order + "HH")
        self._u16 = struct.Struct(order + "H")
        self._u32 = struct.Struct(order + "L")

    def detect(self) -> None:
        """Correct the encoding by the first element, where a file's meta information contradicts its data set."""
        head = self.peek(6)
        if len(head) < 6:
            return
        # Data sets begin with a low group: read the wrong way round it is a high one.
        low, high = (head[0], head[1]) if self.encoding.little else (head[1], head[0])
        turned = low == 0 < high
        little = self.encoding.little is not turned
        self.use(Encoding(head[4:6] in KNOWN_VRS, little, self.encoding.deflated))

    def peek(self, size: int) -> bytes:
        """Return the next bytes without passing over them; fewer at the end."""
        while len(self._ahead) < size and (more := self._source.read(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        data = self.peek(size) if size else b""
        if len(data) != size:
            raise UnparsableError(f"the data set ends within an element, {size - len(data)} bytes short")
        self._ahead = self._ahead[size:]
        self.position += size
        return data

    def pieces(self, size: int, chunk: int = 1 << 20) -> list[int]:
        """Return sizes of pieces that make up ``size``."""
        whole, rest = divmod(size, chunk)
        return [chunk] * whole + ([rest] if rest else [])

    def skip(self, size: int) -> None:
        """Pass over bytes; past the end is found out by the next read."""
        if size > 1 << 16 and self._seek is not None:
            self._seek(size - len(self._ahead), 1)
            self._ahead = b""
            self.position += size
            return
        for piece in self.pieces(size):
            self.read(piece)

    def next(self) -> Element | None:
        """Return the head of the next element, ``None`` at the end of the data set."""
        head = self.peek(8)
        if len(head) < 8:
            # Writers pad the end of a deflated data set, and some of others too.
            if head.strip(b"\0"):
                raise UnparsableError("the data set ends within the head of an element")
            return None
        group, element = self._tag.unpack_from(head)
        tag = group << 16 | element
        if group == 0xFFFE or not self.encoding.explicit:
            self.read(8)
            return Element(tag, b"", self._u32.unpack_from(head, 4)[0])
        vr = head[4:6]
        if vr in SHORT_VRS:
            self.read(8)
            return Element(tag, vr, self._u16.unpack_from(head, 6)[0])
        if vr in LONG_VRS:
            self.read(8)
            return Element(tag, vr, self._u32.unpack(self.read(4))[0])
        return self._odd(tag, vr, head)

    def _odd(self, tag: int, vr: bytes, head: bytes) -> Element:
        if not vr.isalpha() or not vr.isupper():
            # Some writers fall back to implicit for single elements, with a length where the VR should be.
            if tag == 0 and not head.strip(b"\0"):
                raise UnparsableError("the data set goes over into zeros")
            self.read(8)
            return Element(tag, b"", self._u32.unpack_from(head, 4)[0])
        # A VR of the future has 32 bits of length (PS3.5 6.2).
        self.read(8)
        return Element(tag, vr, self._u32.unpack(self.read(4))[0])

    def skip_value(self, element: Element, depth: int = 0) -> None:
        """Pass over the value of an element, whatever it is."""
        if element.length != UNDEFINED:
            self.skip(element.length)
            return
        if depth > MAX_DEPTH:
            raise UnparsableError(f"sequences within sequences, more than {MAX_DEPTH} deep")
        kept = self.encoding
        if element.vr == b"UN":
            # PS3.5 6.2.2: UN of undefined length is a sequence in implicit VR little endian.
            self.use(Encoding(explicit=False, little=True))
        while (item := self.next()) is not None and item.tag != SEQUENCE_END:
            if item.tag != ITEM:
                raise UnparsableError(f"{item.tag:08X} where an item or the end of a sequence should be")
            if item.length != UNDEFINED:
                self.skip(item.length)
                continue
            while (inner := self.next()) is not None and inner.tag != ITEM_END:
                self.skip_value(inner, depth + 1)
        self.use(kept)
