"""The walk over the elements of a data set (PS3.5 7), forgiving, with bulk values left where they are.

The walk only goes forward and holds one window of the file. What it does not
understand it warns of and survives; what it cannot survive is an
``UnparsableError``. Depth, number of elements and bytes kept are limited, so
no input costs unbounded time or memory.
"""

from __future__ import annotations

import base64
from struct import unpack
from typing import Any

from vna.dicom.charset import Charset
from vna.dicom.dictionary import BULK_VRS, LONG_VRS, PIXEL_DATA, PIXEL_TAGS, SHORT_VRS, hex_tag, show_tag
from vna.dicom.element_header import (
    EXPLICIT,
    IMPLICIT,
    ITEM_GROUP,
    ITEM_STARTS,
    LENGTH,
    UNDEFINED,
    Scope,
    element_vr,
    explicit_after_all,
    looks_explicit,
    odd_header,
)
from vna.dicom.encapsulated import MOST_FRAGMENTS, walk_fragments
from vna.dicom.header import Bulk
from vna.dicom.shared import LONGEST, seen
from vna.dicom.source import Source
from vna.dicom.values import BIG, LITTLE, little_endian
from vna.dicom.window import Window
from vna.domain.errors import UnparsableError
from vna.domain.records import Attributes

INLINE_BINARY = 4096
INLINE_TEXT = 65536
MOST_ELEMENTS = 500_000
MOST_DEPTH = 64
MOST_KEPT = 32 << 20

_EXTENDED_OFFSETS = 0x7FE00001
_CHARSET, _PIXEL_REPRESENTATION, _LUT_DESCRIPTOR = 0x00080005, 0x00280103, 0x00283002
_TELLING = frozenset((_CHARSET, _PIXEL_REPRESENTATION, _LUT_DESCRIPTOR))
"""Elements that tell how others are to be read."""
_FIRST_CREATOR, _LAST_CREATOR = 0x10, 0xFF  # PS3.5 7.8.1
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD


class Parser:
    """One walk over one source.

    Parameters
    ----------
    source
        The bytes.
    """

    def __init__(self, source: Source) -> None:
        self.window = Window(source)
        self._elements = 0
        self._kept = 0
        self.bulk: dict[str, Bulk] = {}
        self._offsets: tuple[int, ...] = ()

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
        window = self.window
        little = scope.little
        explicit = looks_explicit(window, pos, end, scope)
        scope.explicit = explicit
        unpack = (EXPLICIT if explicit else IMPLICIT)[little]
        convert = LITTLE if little else BIG
        buf, base = window.buf, window.base
        charset = scope.charset
        shared = seen(charset.terms, little=little)
        warned = window.warned
        short = SHORT_VRS
        while pos < end:
            at = pos - base
            if at < 0 or at + 12 > len(buf):
                window.move(pos)
                buf, base, at = window.buf, pos, 0
                if len(buf) < 8:
                    self._at_end(buf, pos, undefined=undefined)
                    return attributes, end
            self._elements += 1
            if self._elements > MOST_ELEMENTS:
                raise UnparsableError(f"the data set has more than {MOST_ELEMENTS} elements")
            # -- header of the element (PS3.5 7.1)
            if explicit:
                group, element, letters, length = unpack(buf, at)
                tag = group << 16 | element
                start = pos + 8
                vr = short.get(letters)
                if vr is None and group != ITEM_GROUP:
                    vr = LONG_VRS.get(letters)
                    if vr is not None and at + 12 <= len(buf):
                        length = LENGTH[little](buf, at + 8)[0]
                        start = pos + 12
                    else:
                        vr, length, start = odd_header(window, tag, letters, pos, end=end, scope=scope)
                        buf, base = window.buf, window.base
            else:
                group, element, length = unpack(buf, at)
                tag = group << 16 | element
                start = pos + 8
                vr = None
            if group == ITEM_GROUP:
                if depth and (element == _SEQUENCE_END or (element == _ITEM and undefined)):
                    return attributes, pos  # the delimiter of this item is missing; the sequence goes on from here
                pos += 8
                if element == _ITEM_END and undefined:
                    return attributes, pos
                if not depth:
                    self.window.warn("an item delimiter stands outside any sequence")
                continue
            if group_only is not None and group != group_only:
                return attributes, pos
            odd = group & 1
            unknown = vr == "UN"
            if unknown or vr is None:
                vr = element_vr(tag, scope)
                if not explicit and length != UNDEFINED and start + length > end:
                    again = explicit_after_all(window, pos, end, little=little)
                    if again is not None:
                        vr, length, start = again
                        buf, base = window.buf, window.base
            key = hex_tag(tag)
            # -- values that are not values: sequences, fragments
            if vr == "SQ" or length == UNDEFINED:
                pos = self._compound(
                    attributes,
                    tag,
                    "UN" if unknown else vr,
                    start,
                    length,
                    end=end,
                    scope=scope,
                    path=path,
                    depth=depth,
                )
                buf, base = window.buf, window.base
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
                    buf, base = window.buf, window.base
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
                raw = self.window.peek(length, start)
                buf, base = window.buf, window.base
                if len(raw) < length:
                    self.window.warn(f"the file ends in the middle of {show_tag(tag)}")
                    return attributes, end
            pos = stop
            known = shared.get((vr, raw)) if length <= LONGEST else None
            if known is not None and tag not in _TELLING and not (odd and element <= _LAST_CREATOR):
                attributes[key] = known
                continue
            self._kept += length
            if self._kept > MOST_KEPT:
                raise UnparsableError(f"the values of the data set, bulk left out, are over {MOST_KEPT >> 20} MiB")
            converter = convert.get(vr)
            if converter is None:
                inline = raw if little else little_endian(raw, vr)
                attributes[key] = {"vr": vr, "InlineBinary": base64.b64encode(inline).decode("ascii")}
                if tag == _EXTENDED_OFFSETS:
                    self._note_offsets(start, length)
                    buf, base = window.buf, window.base
                continue
            try:
                values = converter(raw, charset)
            except ValueError:
                self.window.warn(f"{show_tag(tag)}: {length} bytes cannot be values of {vr}")
                attributes[key] = {"vr": "UN", "InlineBinary": base64.b64encode(raw).decode("ascii")}
                continue
            if length <= LONGEST and window.warned == warned:
                attributes[key] = shared.add(vr, raw, values)
            else:
                attributes[key] = {"vr": vr, "Value": values} if values else {"vr": vr}
            warned = window.warned
            if odd:
                if _FIRST_CREATOR <= element <= _LAST_CREATOR and values:
                    scope.creators[group << 8 | element] = str(values[0])
            elif tag == _CHARSET:
                scope.charset = charset = Charset(tuple(str(term or "") for term in values or ()), self.window.warn)
                shared = seen(charset.terms, little=little)
            elif tag == _PIXEL_REPRESENTATION and values:
                scope.pixel_representation = values[0]
            elif tag == _LUT_DESCRIPTOR and values:
                scope.lut_entries = values[0]
        return attributes, pos

    def _clamp(self, tag: int, vr: str, start: int, length: int, *, end: int, depth: int) -> int:
        """Return where a value ends that is longer than what is left, or -1 if it is lost."""
        whole = end - start
        place = "its item" if depth else "the file"
        if whole > 0 and (tag in PIXEL_TAGS or (depth and whole <= INLINE_BINARY) or vr in BULK_VRS):
            self.window.warn(f"{show_tag(tag)} is truncated: {length} bytes are told, {place} holds {whole}")
            return end
        self.window.warn(f"{place} ends in the middle of {show_tag(tag)}")
        return -1

    def _at_end(self, rest: bytes, pos: int, *, undefined: bool) -> None:
        """Note what an end of file, where more was to come, means."""
        source_end = self.window.source.end
        if pos > source_end:
            # Only an inflated data set learns this late that its last value was cut.
            for path, bulk in reversed(self.bulk.items()):
                if bulk.offset <= source_end < bulk.offset + bulk.length:
                    self.bulk[path] = Bulk(bulk.vr, bulk.offset, source_end - bulk.offset)
                    self.window.warn(f"{path} is truncated")
                break
        elif rest.strip(b"\0") or undefined:
            self.window.warn("the data set ends in the middle of an element")

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
                self.window.peek, self.window.warn, vr, start=start, end=end, extended=offsets, little=scope.little
            )
            self.bulk[path + key] = found
            attributes[key] = {"vr": vr, "BulkDataURI": path + key}
            return after
        if vr not in {"SQ", "UN"}:
            if self.window.peek(4, start) not in ITEM_STARTS:
                self.window.warn(
                    f"{show_tag(tag)} has an undefined length, which {vr} may not have; the rest is not read"
                )
                return end
            self.window.warn(f"{show_tag(tag)} is a sequence, though its value representation is {vr}")
        stop = end if length == UNDEFINED else start + length
        if stop > end:
            self.window.warn(f"{show_tag(tag)} is longer than what it stands in")
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
        unpack = IMPLICIT[scope.little]
        while pos + 8 <= end:
            head = self.window.peek(8, pos)
            if len(head) < 8:
                break
            group, element, length = unpack(head, 0)
            if group != ITEM_GROUP or element not in {_ITEM, _ITEM_END, _SEQUENCE_END}:
                self.window.warn("a sequence ends without its delimiter")
                return items, pos
            pos += 8
            self._elements += 1
            if self._elements > MOST_ELEMENTS:
                raise UnparsableError(f"the data set has more than {MOST_ELEMENTS} elements")
            if element == _SEQUENCE_END:
                if undefined:
                    return items, pos
                continue
            if element == _ITEM_END:
                continue
            inner_path = f"{path}{len(items)}."
            if length == UNDEFINED:
                item, pos = self.dataset(pos, end, scope.inner(), inner_path, depth, undefined=True)
            else:
                stop = pos + length
                if stop > end:
                    self.window.warn("an item is longer than its sequence")
                    stop = end
                item, _ = self.dataset(pos, stop, scope.inner(), inner_path, depth)
                pos = stop
            items.append(item)
        if undefined:
            self.window.warn("a sequence ends without its delimiter")
        return items, end

    def _note_offsets(self, start: int, length: int) -> None:
        """Read an Extended Offset Table (7FE0,0001), which the walk over the fragments needs next."""
        if length <= 8 * MOST_FRAGMENTS:
            raw = self.window.peek(length, start)
            self._offsets = unpack(f"<{len(raw) // 8}Q", raw[: len(raw) // 8 * 8])
