"""Writing a Part-10 file (PS3.10 7) from a data set in the DICOM JSON model (PS3.18 F.2), bulk values from a file.

Explicit VR Little Endian, or an encapsulated transfer syntax, whose data set
is written alike (PS3.5 A.4). Bulk values are copied in pieces, so memory does
not grow with them.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from vna.dicom.dictionary import BULK_VRS, KNOWN_VRS, PIXEL_DATA, PIXEL_TAGS, SHORT_VRS, public_vr, show_tag
from vna.dicom.elements import ITEM, ITEM_END, MAX_DEPTH, SEQUENCE_END, UNDEFINED
from vna.dicom.encode import encode
from vna.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from vna.dicom.rewrite import Writable
from vna.domain.errors import UnparsableError
from vna.domain.records import Attributes

LONGEST = 0xFFFFFFFE
"""Longest value and fragment (PS3.5 7.1.1, A.4)."""

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_CHARSET = "00080005"
# Commands, File Meta Information, directories of media: parts of other things than a data set (PS3.5 7.1).
_OTHER_GROUPS = frozenset({0x0000, 0x0002, 0x0004, 0x0006})
# Told of an instance by a server that has it, and no attribute of the instance (PS3.18 10.6.3.3.4).
_NOT_OF_THE_INSTANCE = frozenset({"00083002"})
# Where the frames are in other fragments than those that are written.
_OFFSETS = frozenset({"7FE00001", "7FE00002"})


@dataclass(frozen=True, slots=True)
class BulkValue:
    """A value that lies in a file.

    Attributes
    ----------
    spans
        Offset and length of its pieces: the frames of an encapsulated value.
    encapsulated
        Whether each piece becomes a fragment (PS3.5 A.4).
    as_it_lies
        Of an encapsulated value: whether there are two pieces, all its items up to
        the head of the last fragment, and the data of that.
    """

    spans: tuple[tuple[int, int], ...]
    encapsulated: bool = False
    as_it_lies: bool = False

    @property
    def length(self) -> int:
        """Length of all pieces in bytes."""
        return sum(length for _offset, length in self.spans)


def file_meta(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Return preamble and File Meta Information (PS3.10 7.1)."""
    body = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
    for number, vr, text in (
        (0x0002, b"UI", sop_class),
        (0x0003, b"UI", sop_instance),
        (0x0010, b"UI", transfer_syntax),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
    ):
        value = text.encode("ascii")
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        body += struct.pack("<HH2sH", 2, number, vr, len(value)) + value
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


class DataSetWriter:
    """Writes the elements of a data set.

    Parameters
    ----------
    target
        Takes the bytes.
    bulk
        Values by their BulkDataURI.
    read
        Yields the bytes of a span of bulk values' file.

    Raises
    ------
    UnparsableError
        From :meth:`write`, naming the attribute that cannot be written.
    """

    def __init__(
        self,
        target: Writable,
        bulk: Mapping[str, BulkValue],
        read: Callable[[int, int], Iterable[bytes]],
    ) -> None:
        self._write = target.write
        self._bulk = bulk
        self._read = read
        self._encapsulated = any(value.encapsulated and not value.as_it_lies for value in bulk.values())

    def write(self, attributes: Attributes) -> None:
        """Write a data set, with its texts in UTF-8 where they are not ASCII (PS3.18 F.2 knows no other).

        What is no part of a stored data set is left out: groups 0000 to 0006, group
        lengths, and Available Transfer Syntax UID (0008,3002).
        """
        content: Mapping[str, Any] = attributes
        try:
            ascii_alone = json.dumps(attributes, ensure_ascii=False).isascii()
        except RecursionError as error:
            raise UnparsableError("the metadata has arrays within arrays, too deep for any value") from error
        if _CHARSET in attributes or not ascii_alone:
            content = {**attributes, _CHARSET: {"vr": "CS", "Value": ["ISO_IR 192"]}}
        self._elements(content, 0)

    def _elements(self, attributes: Mapping[str, Any], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise UnparsableError(f"sequences within sequences, more than {MAX_DEPTH} deep")
        for tag in sorted(attributes):
            number = int(tag, 16)
            if number >> 16 in _OTHER_GROUPS or not number & 0xFFFF or tag in _NOT_OF_THE_INSTANCE:
                continue
            if number >> 16 == 0xFFFE:
                raise UnparsableError(f"{show_tag(number)} is no attribute")
            if depth == 0 and self._encapsulated and tag in _OFFSETS:
                continue
            self._element(number, attributes[tag], depth)

    def _element(self, tag: int, field: Mapping[str, Any], depth: int) -> None:
        try:
            self._field(tag, field, depth)
        except (ValueError, TypeError, binascii.Error) as error:
            raise UnparsableError(f"{show_tag(tag)}: {error}") from error

    def _field(self, tag: int, field: Mapping[str, Any], depth: int) -> None:
        vr = field.get("vr") or public_vr(tag)
        if not isinstance(vr, str) or vr.encode() not in KNOWN_VRS:
            raise ValueError(f"VR {vr!r} is not known")
        if sum(name in field for name in ("Value", "InlineBinary", "BulkDataURI")) > 1:
            raise ValueError("there is more than one of Value, InlineBinary and BulkDataURI")
        if vr == "SQ":
            self._sequence(tag, field, depth)
        elif "BulkDataURI" in field:
            value = self._bulk.get(field["BulkDataURI"])
            if value is None:
                raise ValueError(f"there is no bulk data for BulkDataURI {str(field['BulkDataURI'])[:200]!r}")
            self._bulk_value(tag, vr, value)
        elif "InlineBinary" in field:
            self._value(tag, vr, b64decode(field["InlineBinary"], validate=True))
        elif tag == 0x00080005:
            self._value(tag, vr, b"ISO_IR 192")
        else:
            self._value(tag, vr, encode(vr, field.get("Value")))

    def _head(self, tag: int, vr: str, length: int) -> None:
        name = vr.encode()
        if tag >> 16 == 0xFFFE:
            self._write(struct.pack("<HHL", tag >> 16, tag & 0xFFFF, length))
        elif name in SHORT_VRS and length <= 0xFFFF:
            self._write(struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, name, length))
        else:
            # PS3.5 6.2.2: what is too long for the 16 bits of its VR is written as UN.
            name = b"UN" if name in SHORT_VRS else name
            self._write(struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, name, 0, length))

    def _value(self, tag: int, vr: str, value: bytes) -> None:
        self._head(tag, vr, len(value) + len(value) % 2)
        self._write(value + _padding(vr) * (len(value) % 2))

    def _sequence(self, tag: int, field: Mapping[str, Any], depth: int) -> None:
        items = field.get("Value") or []
        if "Value" not in field and len(field.keys() - {"vr"}):
            raise ValueError("a sequence has items and nothing else")
        if not isinstance(items, list):
            raise TypeError("Value is no array")
        self._head(tag, "SQ", UNDEFINED if items else 0)
        if not items:
            return
        for item in items:
            if item is not None and not isinstance(item, Mapping):
                raise TypeError("an item is no data set")
            self._head(ITEM, "", UNDEFINED)
            self._elements(item or {}, depth + 1)
            self._head(ITEM_END, "", 0)
        self._head(SEQUENCE_END, "", 0)

    def _bulk_value(self, tag: int, vr: str, value: BulkValue) -> None:
        if value.encapsulated:
            (self._items if value.as_it_lies else self._fragments)(tag, value)
            return
        length = value.length
        if length > LONGEST:
            raise ValueError(f"{length} bytes are more than a value can have")
        if tag in PIXEL_TAGS and vr not in BULK_VRS - {"UN"}:
            vr = "OW"
        self._head(tag, vr, length + length % 2)
        for offset, size in value.spans:
            self._copy(offset, size)
        self._write(_padding(vr) * (length % 2))

    def _items(self, tag: int, value: BulkValue) -> None:
        """Write an encapsulated value in the items that it has; the last may be cut short, so its head is new."""
        first, (offset, length) = value.spans
        self._head(tag, "OB", UNDEFINED)
        self._copy(*first)
        self._head(ITEM, "", length + length % 2)
        self._copy(offset, length)
        self._write(b"\0" * (length % 2))
        self._head(SEQUENCE_END, "", 0)

    def _fragments(self, tag: int, value: BulkValue) -> None:
        """Write an encapsulated value, one fragment a frame (PS3.5 A.4), with an offset table if there are several."""
        sizes = [length + length % 2 for _offset, length in value.spans]
        if max(sizes) > LONGEST:
            raise ValueError("a frame is longer than a fragment can be")
        offsets = [0, *accumulate(size + 8 for size in sizes[:-1])] if len(sizes) > 1 else []
        basic = b""
        if offsets and offsets[-1] > UNDEFINED - 1:
            # Beyond the reach of 32 bits, an Extended Offset Table (PS3.3 C.7.6.3.1.8).
            if tag == PIXEL_DATA:
                lengths = [length for _offset, length in value.spans]
                self._value(0x7FE00001, "OV", struct.pack(f"<{len(offsets)}Q", *offsets))
                self._value(0x7FE00002, "OV", struct.pack(f"<{len(lengths)}Q", *lengths))
        else:
            basic = struct.pack(f"<{len(offsets)}L", *offsets)
        self._head(tag, "OB", UNDEFINED)
        self._head(ITEM, "", len(basic))
        self._write(basic)
        for (offset, length), size in zip(value.spans, sizes, strict=True):
            self._head(ITEM, "", size)
            self._copy(offset, length)
            self._write(b"\0" * (size - length))
        self._head(SEQUENCE_END, "", 0)

    def _copy(self, offset: int, length: int) -> None:
        for piece in self._read(offset, length):
            self._write(piece)


def _padding(vr: str) -> bytes:
    """Return what makes a length even (PS3.5 6.2)."""
    return b"\0" if vr == "UI" or vr in BULK_VRS else b" "


def bulk_fields(attributes: Any, depth: int = 0) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any], int]]:
    """Yield every attribute that has a BulkDataURI: its tag, itself, the data set it is in, and how deep that is.

    What is no data set is passed over: the writer tells what is wrong with it.
    """
    if not isinstance(attributes, Mapping) or depth > MAX_DEPTH:
        return
    for tag, field in attributes.items():
        if not isinstance(field, Mapping) or not _TAG.fullmatch(tag):
            continue
        if isinstance(field.get("BulkDataURI"), str):
            yield int(tag, 16), field, attributes, depth
        elif field.get("vr") == "SQ" and isinstance(field.get("Value"), list):
            for item in field["Value"]:
                yield from bulk_fields(item, depth + 1)
