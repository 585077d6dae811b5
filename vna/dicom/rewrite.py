"""Rewriting a data set from one encoding into another (PS3.5 7 and Annex A), element by element.

Values are copied in pieces, so memory does not grow with them. Sequences and
items come out with undefined length, group lengths (gggg,0000) are left out
(PS3.5 7.2); everything else keeps its order and its value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from vna.dicom.dictionary import KNOWN_VRS, PIXEL_TAGS, SHORT_VRS, private_vr, public_vr
from vna.dicom.elements import (
    ITEM,
    ITEM_END,
    MAX_DEPTH,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    ElementReader,
    Encoding,
)
from vna.dicom.part10 import text_of
from vna.domain.errors import UnparsableError, UnsupportedError

# Bytes of one number of a value (PS3.5 6.2), for the order of bytes.
_UNIT = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OL", b"OF"), 4),
    **dict.fromkeys((b"FD", b"OD", b"SV", b"UV", b"OV"), 8),
}
_PIECE = 1 << 20
MAX_ICON_BYTES = 16 << 20
_PIXEL_REPRESENTATION = 0x00280103


class Writable(Protocol):
    """What elements are written to."""

    def write(self, data: bytes, /) -> object:
        """Take bytes."""
        ...


class _Scope:
    """What holds for the elements of one data set or item."""

    def __init__(self, outer: _Scope | None = None) -> None:
        self.creators: dict[int, str] = {}
        self.image: dict[int, bytes] = {}
        self.pixel_representation: int | None = outer.pixel_representation if outer else None


class Rewriter:
    """Copies a data set into another encoding.

    Parameters
    ----------
    reader
        Stands at the first element.
    target
        Takes the elements.
    encoding
        How they are written.
    replaced
        Values to write in place of those that are there, at the top level, by tag: VR and bytes, little endian.
    icon
        Given the fragment and the Image Pixel attributes (group 0028) of an encapsulated image within a
        sequence; returns the VR and value of its native pixel data.
    dropped
        Elements to leave out at the top level.
    instead
        Called with this for encapsulated pixel data at the top level; writes the element itself. Without it,
        encapsulated pixel data is an error.
    """

    def __init__(
        self,
        reader: ElementReader,
        target: Writable,
        encoding: Encoding,
        *,
        replaced: Mapping[int, tuple[bytes, bytes]] | None = None,
        dropped: frozenset[int] = frozenset(),
        instead: Callable[[Rewriter], None] | None = None,
        icon: Callable[[bytes, Mapping[int, bytes]], tuple[bytes, bytes]] | None = None,
    ) -> None:
        self._reader = reader
        self._target = target
        self._encoding = encoding
        self._replaced = dict(replaced or {})
        self._dropped = dropped
        self._instead = instead
        self._icon = icon
        order = "<" if encoding.little else ">"
        self._tag = struct.Struct(order + "HH").pack
        self._u16 = struct.Struct(order + "H").pack
        self._u32 = struct.Struct(order + "L").pack

    def run(self) -> None:
        """Copy everything.

        Raises
        ------
        UnparsableError
            The data set is broken.
        UnsupportedError
            It has encapsulated values where none can be.
        """
        scope = _Scope()
        while (element := self._reader.next()) is not None:
            if element.tag in self._replaced:
                self._reader.skip_value(element)
                vr, value = self._replaced[element.tag]
                self.head(element.tag, vr, len(value))
                self._target.write(value)
            elif element.tag in self._dropped:
                self._reader.skip_value(element)
            else:
                self._element(element, scope, 0)

    def head(self, tag: int, vr: bytes, length: int) -> None:
        """Write the head of an element."""
        head = self._tag(tag >> 16, tag & 0xFFFF)
        if not self._encoding.explicit or not vr:
            head += self._u32(length)
        elif vr in SHORT_VRS and length <= 0xFFFF:
            head += vr + self._u16(length)
        else:
            # PS3.5 6.2.2: what is too long for the 16 bits of its VR is written as UN.
            head += (b"UN" if vr in SHORT_VRS else vr) + b"\0\0" + self._u32(length)
        self._target.write(head)

    def _element(self, element: Element, scope: _Scope, depth: int) -> None:
        tag, length = element.tag, element.length
        if tag & 0xFFFF == 0:
            self._reader.skip_value(element)
            return
        vr = self._vr(element, scope)
        if length == UNDEFINED and vr not in {b"SQ", b"UN"}:
            self._encapsulated(element, scope, depth)
        elif vr == b"SQ" or length == UNDEFINED:
            self._sequence(element, scope, depth)
        else:
            self._value(element, vr, scope)

    def _encapsulated(self, element: Element, scope: _Scope, depth: int) -> None:
        tag = element.tag
        if tag in PIXEL_TAGS and not depth and self._instead is not None:
            self._reader.skip_value(element)
            self._instead(self)
            return
        if tag not in PIXEL_TAGS or not depth or self._icon is None:
            raise UnsupportedError(
                f"the encapsulated value of ({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be rewritten"
            )
        fragments: list[bytes] = []
        size = 0
        while (item := self._reader.next()) is not None and item.tag == ITEM:
            size += item.length
            if size > MAX_ICON_BYTES:
                raise UnsupportedError(f"the pixel data within a sequence is longer than {MAX_ICON_BYTES} bytes")
            fragments.append(self._reader.read(item.length))
        vr, value = self._icon(b"".join(fragments[1:]), scope.image)
        self.head(tag, vr, len(value))
        self._target.write(value)

    @property
    def _turns(self) -> bool:
        """Whether the order of bytes is another one."""
        return self._encoding.little != self._reader.encoding.little

    def _vr(self, element: Element, scope: _Scope) -> bytes:
        if element.vr == b"UN" and element.length != UNDEFINED and self._turns:
            # In another order of bytes a number must be known for one.
            return self._looked_up(element, scope)
        if element.vr in KNOWN_VRS:
            return element.vr
        if element.vr:
            raise UnsupportedError(f"VR {element.vr!r} is not known")
        return self._looked_up(element, scope)

    def _looked_up(self, element: Element, scope: _Scope) -> bytes:
        tag = element.tag
        group = tag >> 16
        if not group % 2:
            vr = public_vr(tag, scope.pixel_representation).encode()
            if tag in PIXEL_TAGS and element.length == UNDEFINED:
                return b"OB"
            return b"SQ" if vr == b"UN" and element.length == UNDEFINED else vr
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return b"LO"
        if element.length == UNDEFINED:
            return b"SQ"
        creator = scope.creators.get(group << 8 | (tag & 0xFFFF) >> 8, "")
        vr = private_vr(tag, creator).encode()
        # A private value is not entered by what a dictionary says of it: UN holds a sequence as well (PS3.5 6.2.2).
        return b"UN" if vr == b"SQ" else vr

    def _value(self, element: Element, vr: bytes, scope: _Scope) -> None:
        tag, length = element.tag, element.length
        self.head(tag, vr, length)
        unit = self._unit(tag, vr, scope) if self._turns else 1
        if length <= 256 and (tag >> 16 == 0x0028 or (tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF)):
            value = self._reader.read(length)
            self._note(tag, value, scope)
            self._target.write(swapped(value, unit))
            return
        for size in self._reader.pieces(length, _PIECE):
            self._target.write(swapped(self._reader.read(size), unit))

    def _unit(self, tag: int, vr: bytes, scope: _Scope) -> int:
        if tag in PIXEL_TAGS and vr == b"OW":
            order: Literal["little", "big"] = "little" if self._reader.encoding.little else "big"
            return pixel_unit(int.from_bytes(scope.image.get(0x00280100, b"")[:2], order))
        return _UNIT.get(vr, 1)

    def _note(self, tag: int, value: bytes, scope: _Scope) -> None:
        if tag >> 16 & 1:
            scope.creators[(tag >> 16) << 8 | tag & 0xFF] = text_of(value)
            return
        scope.image[tag] = value
        if tag == _PIXEL_REPRESENTATION and len(value) >= 2:
            scope.pixel_representation = int.from_bytes(value[:2], "little" if self._reader.encoding.little else "big")

    def _sequence(self, element: Element, scope: _Scope, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise UnparsableError(f"sequences within sequences, more than {MAX_DEPTH} deep")
        if not element.length:
            self.head(element.tag, b"SQ", 0)
            return
        self.head(element.tag, b"SQ", UNDEFINED)
        reader = self._reader
        kept = reader.encoding
        if element.vr == b"UN":
            # PS3.5 6.2.2: a sequence within UN is implicit little endian.
            reader.use(Encoding(explicit=False, little=True))
        end = reader.position + element.length if element.length != UNDEFINED else None
        while end is None or reader.position < end:
            item = reader.next()
            if item is None or item.tag == SEQUENCE_END:
                break
            if item.tag != ITEM:
                raise UnparsableError(f"{item.tag:08X} where an item or the end of a sequence should be")
            self.head(ITEM, b"", UNDEFINED)
            self._item(item, _Scope(scope), depth)
            self.head(ITEM_END, b"", 0)
        if end is not None and reader.position != end:
            raise UnparsableError("an item goes beyond the end of its sequence")
        reader.use(kept)
        self.head(SEQUENCE_END, b"", 0)

    def _item(self, item: Element, scope: _Scope, depth: int) -> None:
        reader = self._reader
        end = reader.position + item.length if item.length != UNDEFINED else None
        while end is None or reader.position < end:
            inner = reader.next()
            if inner is None:
                raise UnparsableError("the data set ends within an item")
            if inner.tag == ITEM_END:
                break
            self._element(inner, scope, depth + 1)
        if end is not None and reader.position != end:
            raise UnparsableError("an element goes beyond the end of its item")


def swapped(data: bytes, unit: int) -> bytes:
    """Return bytes with the order within each unit turned round; what is left over at the end stays."""
    if unit == 1 or len(data) < unit:
        return data
    import numpy as np

    whole = len(data) // unit * unit
    turned = np.frombuffer(data, dtype=f"<u{unit}", count=whole // unit).byteswap().tobytes()
    return turned + data[whole:]


def pixel_unit(bits_allocated: int) -> int:
    """Return how many bytes make a number in pixel data of OW.

    Words of OW have two bytes (PS3.5 6.2); pixels of 32 and 64 bits are turned
    as wholes by the writers there are (GDCM, pydicom), and so here.
    """
    return bits_allocated // 8 if bits_allocated in {32, 64} else 2


def unit_of(vr: str) -> int:
    """Return how many bytes make a number in values of a VR (PS3.5 6.2), which the order of bytes applies to."""
    return _UNIT.get(vr.encode(), 1)
