"""The walk over the elements of a data set (PS3.5 7), forgiving, with bulk values left where they are.

The walk only goes forward and holds one window of the file. What it does not
understand it warns of and survives; what it cannot survive is an
``UnparsableError``. Depth, number of elements and bytes kept are limited, so
no input costs unbounded time or memory.
"""

from __future__ import annotations

import base64
from struct import Struct
from struct import unpack as unpack_all
from typing import Any

from vna.dicom.charset import Charset
from vna.dicom.dictionary import (
    BULK_VRS,
    KNOWN_VRS,
    LONG_VRS,
    PIXEL_DATA,
    PIXEL_TAGS,
    SHORT_VRS,
    hex_tag,
    private_vr,
    public_vr,
    show_tag,
)
from vna.dicom.encapsulated import MOST_FRAGMENTS, walk_fragments
from vna.dicom.header import Bulk
from vna.dicom.source import Source
from vna.dicom.values import BIG, LITTLE, little_endian
from vna.domain.errors import UnparsableError
from vna.domain.records import Attributes

WINDOW = 1 << 14
UNDEFINED = 0xFFFFFFFF
INLINE_BINARY = 4096
INLINE_TEXT = 65536
MOST_ELEMENTS = 500_000
MOST_DEPTH = 64
MOST_KEPT = 32 << 20
MOST_WARNINGS = 100

_EXPLICIT = {True: Struct("<HH2sH").unpack_from, False: Struct(">HH2sH").unpack_from}
_IMPLICIT = {True: Struct("<HHL").unpack_from, False: Struct(">HHL").unpack_from}
_LENGTH = {True: Struct("<L").unpack_from, False: Struct(">L").unpack_from}
_EXTENDED_OFFSETS = 0x7FE00001
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_ITEM_GROUP = 0xFFFE


class Scope:
    """What holds within one data set or item, and is inherited by the items in it."""

    __slots__ = ("charset", "creators", "explicit", "little", "lut_entries", "pixel_representation")

    def __init__(self, charset: Charset, *, explicit: bool, little: bool) -> None:
        self.charset = charset
        self.explicit = explicit
        self.little = little
        self.creators: dict[int, str] = {}
        self.pixel_representation: int | None = None
        self.lut_entries: int | None = None

    def inner(self) -> Scope:
        """Return the scope of an item: its own private creators, all else inherited until it says otherwise."""
        scope = Scope(self.charset, explicit=self.explicit, little=self.little)
        scope.pixel_representation = self.pixel_representation
        return scope


class Parser:
    """One walk over one source.

    Parameters
    ----------
    source
        The bytes.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._buf = b""
        self._base = 0
        self._elements = 0
        self._kept = 0
        self._warnings: dict[str, None] = {}
        self.bulk: dict[str, Bulk] = {}
        self._offsets: tuple[int, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong and survived."""
        return tuple(self._warnings)

    def warn(self, text: str) -> None:
        """Note something wrong, once."""
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings[text] = None

    def peek(self, size: int, pos: int) -> bytes:
        """Return up to ``size`` bytes at a position not behind the window."""
        at = pos - self._base
        if at >= 0 and at + size <= len(self._buf):
            return self._buf[at : at + size]
        if size > WINDOW:
            return self._source.pread(size, pos)
        self._fill(pos)
        return self._buf[:size]

    def _fill(self, pos: int) -> None:
        self._buf = self._source.pread(WINDOW, pos)
        self._base = pos

    # -- data sets ---------------------------------------------------------------------------------------------

    def dataset(
        self, pos: int, end: int, scope: Scope, path: str = "", depth: int = 0, *, undefined: bool = False,
        group_only: int | None = None,
    ) -> tuple[Attributes, int]:  # fmt: skip
        """Read elements up to ``end`` or, for an item of undefined length, its delimiter.

        Parameters
        ----------
        pos, end
            Where to begin and, at most, to end.
        scope
            Encoding and character set; kept up to date.
        path
            Prefix of the paths of bulk values.
        depth
            How many sequences lie around.
        undefined
            Whether an Item Delimitation Item ends it.
        group_only
            Stop in front of an element of another group.

        Returns
        -------
        tuple
            The attributes, and where the walk stands.
        """
        if depth > MOST_DEPTH:
            raise UnparsableError(f"sequences are nested more than {MOST_DEPTH} deep")
        attributes: Attributes = {}
        little = scope.little
        explicit = self._looks_explicit(pos, end, scope)
        scope.explicit = explicit
        unpack = (_EXPLICIT if explicit else _IMPLICIT)[little]
        convert = LITTLE if little else BIG
        buf, base = self._buf, self._base
        charset = scope.charset
        short = SHORT_VRS
        while pos < end:
            at = pos - base
            if at < 0 or at + 12 > len(buf):
                self._fill(pos)
                buf, base, at = self._buf, pos, 0
                if len(buf) < 8:
                    self._at_end(buf, pos, undefined=undefined)
                    return attributes, end
            self._elements += 1
            # -- header of the element (PS3.5 7.1)
            if explicit:
                group, element, letters, length = unpack(buf, at)
                tag = group << 16 | element
                start = pos + 8
                vr = short.get(letters)
                if vr is None and group != _ITEM_GROUP:
                    vr = LONG_VRS.get(letters)
                    if vr is not None and at + 12 <= len(buf):
                        length = _LENGTH[little](buf, at + 8)[0]
                        start = pos + 12
                    else:
                        vr, length, start = self._odd_header(tag, letters, pos, end, scope)
                        buf, base = self._buf, self._base
            else:
                group, element, length = unpack(buf, at)
                tag = group << 16 | element
                start = pos + 8
                vr = None
            if group == _ITEM_GROUP:
                if depth and (element == _SEQUENCE_END or (element == _ITEM and undefined)):
                    return attributes, pos  # the delimiter of this item is missing; the sequence goes on from here
                pos += 8
                if element == _ITEM_END and undefined:
                    return attributes, pos
                if not depth:
                    self.warn("an item delimiter stands outside any sequence")
                continue
            if group_only is not None and group != group_only:
                return attributes, pos
            if self._elements > MOST_ELEMENTS:
                raise UnparsableError(f"the data set has more than {MOST_ELEMENTS} elements")
            odd = group & 1
            if vr is None or vr == "UN":
                vr = self._vr(tag, scope)
                if not explicit and length != UNDEFINED and start + length > end:
                    again = self._explicit_after_all(pos, end, little=little)
                    if again is not None:
                        vr, length, start = again
                        buf, base = self._buf, self._base
            key = hex_tag(tag)
            # -- values that are not values: sequences, fragments
            if vr == "SQ" or length == UNDEFINED:
                pos = self._compound(attributes, tag, vr, start, length, end=end, scope=scope, path=path, depth=depth)
                buf, base = self._buf, self._base
                continue
            stop = start + length
            if stop > end:
                stop = self._clamp(tag, vr, start, length, end=end, depth=depth)
                if stop < 0:
                    return attributes, end
                length = stop - start
            # -- bulk values, and those too long to hold
            if tag in PIXEL_TAGS or length > (INLINE_BINARY if vr in BULK_VRS else INLINE_TEXT):
                if tag == _EXTENDED_OFFSETS:
                    self._note_offsets(start, length)
                    buf, base = self._buf, self._base
                self.bulk[path + key] = Bulk(vr, start, length)
                attributes[key] = {"vr": vr, "BulkDataURI": path + key}
                pos = stop
                continue
            if not length:
                attributes[key] = {"vr": vr}
                pos = start
                continue
            at = start - base
            if at + length <= len(buf):
                raw = buf[at : at + length]
            else:
                raw = self.peek(length, start)
                buf, base = self._buf, self._base
                if len(raw) < length:
                    self.warn(f"the file ends in the middle of {show_tag(tag)}")
                    return attributes, end
            pos = stop
            self._kept += length
            if self._kept > MOST_KEPT:
                raise UnparsableError(f"the values of the data set, bulk left out, are over {MOST_KEPT >> 20} MiB")
            converter = convert.get(vr)
            if converter is None:
                inline = raw if little else little_endian(raw, vr)
                attributes[key] = {"vr": vr, "InlineBinary": base64.b64encode(inline).decode("ascii")}
                if tag == _EXTENDED_OFFSETS:
                    self._note_offsets(start, length)
                    buf, base = self._buf, self._base
                continue
            try:
                values = converter(raw, charset)
            except ValueError:
                self.warn(f"{show_tag(tag)}: {length} bytes cannot be values of {vr}")
                attributes[key] = {"vr": "UN", "InlineBinary": base64.b64encode(raw).decode("ascii")}
                continue
            attributes[key] = {"vr": vr, "Value": values} if values else {"vr": vr}
            if odd:
                if 0x10 <= element <= 0xFF and values:
                    scope.creators[group << 8 | element] = str(values[0])
            elif tag == 0x00080005:
                scope.charset = charset = Charset(tuple(str(term or "") for term in values or ()), self.warn)
            elif tag == 0x00280103 and values:
                scope.pixel_representation = values[0]
            elif tag == 0x00283002 and values:
                scope.lut_entries = values[0]
        return attributes, pos

    # -- headers that need thought -----------------------------------------------------------------------------

    def _vr(self, tag: int, scope: Scope) -> str:
        if not tag >> 16 & 1:
            return public_vr(tag, scope.pixel_representation, scope.lut_entries)
        element = tag & 0xFFFF
        if element == 0:
            return "UL"
        if 0x10 <= element <= 0xFF:
            return "LO"
        creator = scope.creators.get(tag >> 16 << 8 | element >> 8)
        return "UN" if creator is None else private_vr(tag, creator)

    def _looks_explicit(self, pos: int, end: int, scope: Scope) -> bool:
        """Say whether a data set or item is explicit: what its first element looks like beats what was declared."""
        head = self.peek(12, pos)
        if len(head) < 8 or pos + 8 > end:
            return scope.explicit
        group, element, letters, low = _EXPLICIT[scope.little](head, 0)
        if group == _ITEM_GROUP:
            return scope.explicit
        if scope.explicit:
            return True  # an implicit element among explicit ones is found one at a time
        vr = SHORT_VRS.get(letters) or (LONG_VRS.get(letters) if low == 0 else None)
        if vr is None:
            return False
        expected = "UN" if group & 1 else public_vr(group << 16 | element)
        if expected not in {vr, "UN"}:
            return False
        self.warn("a data set declared as implicit VR is written as explicit VR")
        return True

    def _explicit_after_all(self, pos: int, end: int, *, little: bool) -> tuple[str, int, int] | None:
        """Read an element of an implicit data set, whose length cannot be, as an explicit one."""
        head = self.peek(12, pos)
        if len(head) < 12:
            return None
        _group, _element, letters, length = _EXPLICIT[little](head, 0)
        start = pos + 8
        vr = SHORT_VRS.get(letters)
        if vr is None:
            vr = LONG_VRS.get(letters)
            length = _LENGTH[little](head, 8)[0]
            start = pos + 12
        if vr is None or (length != UNDEFINED and start + length > end):
            return None
        self.warn("elements of a data set in implicit VR are written as explicit VR")
        return vr, length, start

    def _odd_header(self, tag: int, letters: bytes, pos: int, end: int, scope: Scope) -> tuple[str | None, int, int]:
        """Read an element of an explicit data set whose VR is none, or stands at the window's edge."""
        little = scope.little
        head = self.peek(12, pos)
        known = LONG_VRS.get(letters)
        if len(head) >= 12:
            long_length = _LENGTH[little](head, 8)[0]
            if known is not None:
                return known, long_length, pos + 12
        elif known is not None:
            return known, 0, pos + 8  # the file ends within the header
        else:
            long_length = UNDEFINED - 1
        short_length = int.from_bytes(head[6:8], "little" if little else "big")
        implicit_length = _LENGTH[little](head, 4)[0]
        ways = [(long_length, pos + 12)] if head[6:8] == b"\0\0" else []
        ways.append((short_length, pos + 8))
        as_implicit = (implicit_length, pos + 8)
        if letters.isalpha() and letters.isupper():
            ways.append(as_implicit)
        else:
            ways.insert(0, as_implicit)
        for length, start in ways:
            if self._lands(start, length, end, tag >> 16, little=little):
                if (length, start) == as_implicit:
                    self.warn("elements of a data set in explicit VR are written as implicit VR")
                else:
                    self.warn(f"{show_tag(tag)} has the value representation {letters!r}, which is none")
                return None, length, start
        self.warn(f"{show_tag(tag)} has neither a value representation nor a length that can be")
        return None, UNDEFINED - 1, pos + 8

    def _lands(self, start: int, length: int, end: int, group: int, *, little: bool) -> bool:
        """Say whether an element of this length is followed by one that can follow."""
        if length == UNDEFINED:
            return self.peek(4, start) in {b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00", b"\xfe\xff\xdd\xe0"}
        stop = start + length
        if stop >= end:
            return stop == end
        at = stop - self._base
        if at < 0 or at + 2 > len(self._buf):
            return True  # looking would lose the window; the length is within bounds, which must do
        following = int.from_bytes(self._buf[at : at + 2], "little" if little else "big")
        return following >= group

    def _clamp(self, tag: int, vr: str, start: int, length: int, *, end: int, depth: int) -> int:
        """Return where a value ends that is longer than what is left, or -1 if it is lost."""
        whole = end - start
        place = "its item" if depth else "the file"
        if whole > 0 and (tag in PIXEL_TAGS or (depth and whole <= INLINE_BINARY) or vr in BULK_VRS):
            self.warn(f"{show_tag(tag)} is truncated: {length} bytes are told, {place} holds {whole}")
            return end
        self.warn(f"{place} ends in the middle of {show_tag(tag)}")
        return -1

    def _at_end(self, rest: bytes, pos: int, *, undefined: bool) -> None:
        """Note what an end of file, where more was to come, means."""
        source_end = self._source.end
        if pos > source_end:
            # Only an inflated data set learns this late that its last value was cut.
            for path, bulk in reversed(self.bulk.items()):
                if bulk.offset <= source_end < bulk.offset + bulk.length:
                    self.bulk[path] = Bulk(bulk.vr, bulk.offset, source_end - bulk.offset)
                    self.warn(f"{path} is truncated")
                break
        elif rest.strip(b"\0") or undefined:
            self.warn("the data set ends in the middle of an element")

    # -- values that hold others -------------------------------------------------------------------------------

    def _compound(
        self, attributes: Attributes, tag: int, vr: str, start: int, length: int, *, end: int, scope: Scope, path: str,
        depth: int,
    ) -> int:  # fmt: skip
        """Read a sequence or an encapsulated value; return where it ends."""
        key = hex_tag(tag)
        if length == UNDEFINED and (tag in PIXEL_TAGS or (vr in BULK_VRS and vr != "UN")):
            offsets, self._offsets = self._offsets, ()
            vr = "OB" if tag == PIXEL_DATA else vr  # PS3.5 A.4, also where the file says OW or nothing
            found, after = walk_fragments(
                self.peek, self.warn, vr, start=start, end=end, extended=offsets, little=scope.little
            )
            self.bulk[path + key] = found
            attributes[key] = {"vr": vr, "BulkDataURI": path + key}
            return after
        if vr not in {"SQ", "UN"}:
            if self.peek(4, start) not in {b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00", b"\xfe\xff\xdd\xe0"}:
                self.warn(f"{show_tag(tag)} has an undefined length, which {vr} may not have; the rest is not read")
                return end
            self.warn(f"{show_tag(tag)} is a sequence, though its value representation is {vr}")
        stop = end if length == UNDEFINED else start + length
        if stop > end:
            self.warn(f"{show_tag(tag)} is longer than what it stands in")
            stop = end
        inner = scope
        if vr == "UN" and scope.explicit:
            # PS3.5 6.2.2, note 4: such a sequence is in implicit VR little endian.
            inner = scope.inner()
            inner.explicit, inner.little = False, True
        items, pos = self._items(start, stop, inner, f"{path}{key}.", depth + 1, undefined=length == UNDEFINED)
        attributes[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        return pos if length == UNDEFINED else stop

    def _items(
        self, pos: int, end: int, scope: Scope, path: str, depth: int, *, undefined: bool
    ) -> tuple[list[Any], int]:
        items: list[Any] = []
        unpack = _IMPLICIT[scope.little]
        while pos + 8 <= end:
            head = self.peek(8, pos)
            if len(head) < 8:
                break
            group, element, length = unpack(head, 0)
            if group != _ITEM_GROUP or element not in {_ITEM, _ITEM_END, _SEQUENCE_END}:
                self.warn("a sequence ends without its delimiter")
                return items, pos
            pos += 8
            if element == _SEQUENCE_END:
                if undefined:
                    return items, pos
                continue
            if element == _ITEM_END:
                continue
            self._elements += 1
            if self._elements > MOST_ELEMENTS:
                raise UnparsableError(f"the data set has more than {MOST_ELEMENTS} elements")
            inner_path = f"{path}{len(items)}."
            if length == UNDEFINED:
                item, pos = self.dataset(pos, end, scope.inner(), inner_path, depth, undefined=True)
            else:
                stop = pos + length
                if stop > end:
                    self.warn("an item is longer than its sequence")
                    stop = end
                item, _ = self.dataset(pos, stop, scope.inner(), inner_path, depth)
                pos = stop
            items.append(item)
        if undefined:
            self.warn("a sequence ends without its delimiter")
        return items, end

    def _note_offsets(self, start: int, length: int) -> None:
        """Read an Extended Offset Table (7FE0,0001), which the walk over the fragments needs next."""
        if length <= 8 * MOST_FRAGMENTS:
            raw = self.peek(length, start)
            self._offsets = unpack_all(f"<{len(raw) // 8}Q", raw[: len(raw) // 8 * 8])


__all__ = ["INLINE_BINARY", "INLINE_TEXT", "KNOWN_VRS", "PIXEL_DATA", "Parser", "Scope"]
