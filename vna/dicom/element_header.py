"""Headers of elements (PS3.5 7.1) that are not what was declared, and value representations that are not told."""

from __future__ import annotations

from struct import Struct

from vna.dicom.charset import Charset
from vna.dicom.dictionary import LONG_VRS, SHORT_VRS, private_vr, public_vr, show_tag
from vna.dicom.window import Window

UNDEFINED = 0xFFFFFFFF
ITEM_GROUP = 0xFFFE
ITEM_STARTS = frozenset({b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00", b"\xfe\xff\xdd\xe0"})
"""First bytes of what may follow a sequence's header: an item in either byte order, or the end."""

EXPLICIT = {True: Struct("<HH2sH").unpack_from, False: Struct(">HH2sH").unpack_from}
IMPLICIT = {True: Struct("<HHL").unpack_from, False: Struct(">HHL").unpack_from}
LENGTH = {True: Struct("<L").unpack_from, False: Struct(">L").unpack_from}
"""Readers of a header by byte order; true is little endian."""


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


def element_vr(tag: int, scope: Scope) -> str:
    """Return the value representation of an element that does not tell it, by the dictionaries."""
    if not tag >> 16 & 1:
        return public_vr(tag, scope.pixel_representation, scope.lut_entries)
    element = tag & 0xFFFF
    if element == 0:
        return "UL"
    if 0x10 <= element <= 0xFF:
        return "LO"
    creator = scope.creators.get(tag >> 16 << 8 | element >> 8)
    return "UN" if creator is None else private_vr(tag, creator)


def looks_explicit(window: Window, pos: int, end: int, scope: Scope) -> bool:
    """Say whether a data set or item is explicit: what its first element looks like beats what was declared."""
    head = window.peek(12, pos)
    if len(head) < 8 or pos + 8 > end:
        return scope.explicit
    group, element, letters, low = EXPLICIT[scope.little](head, 0)
    if group == ITEM_GROUP:
        return scope.explicit
    if scope.explicit:
        return True  # an implicit element among explicit ones is found one at a time
    vr = SHORT_VRS.get(letters) or (LONG_VRS.get(letters) if low == 0 else None)
    if vr is None:
        return False
    expected = "UN" if group & 1 else public_vr(group << 16 | element)
    if expected not in {vr, "UN"}:
        return False
    window.warn("a data set declared as implicit VR is written as explicit VR")
    return True


def explicit_after_all(window: Window, pos: int, end: int, *, little: bool) -> tuple[str, int, int] | None:
    """Read an element of an implicit data set, whose length cannot be, as an explicit one."""
    head = window.peek(12, pos)
    if len(head) < 12:
        return None
    _group, _element, letters, length = EXPLICIT[little](head, 0)
    start = pos + 8
    vr = SHORT_VRS.get(letters)
    if vr is None:
        vr = LONG_VRS.get(letters)
        length = LENGTH[little](head, 8)[0]
        start = pos + 12
    if vr is None or (length != UNDEFINED and start + length > end):
        return None
    window.warn("elements of a data set in implicit VR are written as explicit VR")
    return vr, length, start


def odd_header(
    window: Window, tag: int, letters: bytes, pos: int, *, end: int, scope: Scope
) -> tuple[str | None, int, int]:
    """Read an element of an explicit data set whose VR is none, or stands at the window's edge."""
    little = scope.little
    head = window.peek(12, pos)
    known = LONG_VRS.get(letters)
    if len(head) >= 12:
        long_length = LENGTH[little](head, 8)[0]
        if known is not None:
            return known, long_length, pos + 12
    elif known is not None:
        return known, 0, pos + 8  # the file ends within the header
    else:
        long_length = UNDEFINED - 1
    short_length = int.from_bytes(head[6:8], "little" if little else "big")
    implicit_length = LENGTH[little](head, 4)[0]
    ways = [(long_length, pos + 12)] if head[6:8] == b"\0\0" else []
    ways.append((short_length, pos + 8))
    as_implicit = (implicit_length, pos + 8)
    if letters.isalpha() and letters.isupper():
        ways.append(as_implicit)
    else:
        ways.insert(0, as_implicit)
    for length, start in ways:
        if _lands(window, start, length, end, tag >> 16, little=little):
            if (length, start) == as_implicit:
                window.warn("elements of a data set in explicit VR are written as implicit VR")
            else:
                window.warn(f"{show_tag(tag)} has the value representation {letters!r}, which is none")
            return None, length, start
    window.warn(f"{show_tag(tag)} has neither a value representation nor a length that can be")
    return None, UNDEFINED - 1, pos + 8


def _lands(window: Window, start: int, length: int, end: int, group: int, *, little: bool) -> bool:
    """Say whether an element of this length is followed by one that can follow."""
    if length == UNDEFINED:
        return window.peek(4, start) in ITEM_STARTS
    stop = start + length
    if stop >= end:
        return stop == end
    at = stop - window.base
    if at < 0 or at + 2 > len(window.buf):
        return True  # looking would lose the window; the length is within bounds, which must do
    following = int.from_bytes(window.buf[at : at + 2], "little" if little else "big")
    return following >= group
