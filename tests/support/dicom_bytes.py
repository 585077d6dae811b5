"""Hand-made DICOM bytes, for files that no writer would write."""

from __future__ import annotations

import struct

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
UNDEFINED = 0xFFFFFFFF
ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
SEQUENCE_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def element(tag: int, vr: str, value: bytes = b"", *, length: int | None = None, order: str = "<") -> bytes:
    """Return an element in explicit VR; ``length`` tells another length than the value has."""
    if length is None:
        if len(value) % 2:
            value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
        length = len(value)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode("latin-1")
    if vr in LONG:
        return head + struct.pack(f"{order}HL", 0, length) + value
    return head + struct.pack(f"{order}H", length) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """Return an element in implicit VR."""
    value += b" " * (len(value) % 2)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes, *, length: int | None = None) -> bytes:
    """Return an item, of undefined length with its delimiter if ``length`` is ``UNDEFINED``."""
    head = struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length)
    return head + content + (ITEM_END if length == UNDEFINED else b"")


def meta(syntax: str = EXPLICIT) -> bytes:
    """Return preamble and File Meta Information."""
    content = element(0x00020010, "UI", syntax.encode())
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(content))) + content


IDS = (
    (0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7"),
    (0x00080018, "UI", b"1.2.3.4"),
    (0x0020000D, "UI", b"1.2.3"),
    (0x0020000E, "UI", b"1.2.3.1"),
)


def ids(order: str = "<") -> bytes:
    """Return the four UIDs that an instance must have, in explicit VR."""
    return b"".join(element(tag, vr, value, order=order) for tag, vr, value in IDS)


def instance(content: bytes = b"", syntax: str = EXPLICIT) -> bytes:
    """Return a Part-10 file with the UIDs and more elements."""
    return meta(syntax) + ids() + content
