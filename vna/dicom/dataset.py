"""Identifiers of queries and their answers: small data sets, from bytes and to bytes (PS3.5 7, PS3.4 C.2.2).

A query's value is no value of its VR (``20200101-``, ``1.2*``), so an
identifier is read as texts. An answer is written from the DICOM JSON model,
in the smallest character set that holds it.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vna.dicom.charset import Charset
from vna.dicom.dictionary import KNOWN_VRS, LONG_VRS, SHORT_VRS, hex_tag, private_vr, public_vr
from vna.dicom.values import BIG, LITTLE
from vna.domain.records import Attributes

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
IDENTIFIER_SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG)
"""Transfer syntaxes in which identifiers are read and written, the preferred one first."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 8
_CHARSET = "00080005"
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs that Specific Character Set applies to (PS3.5 6.1.2.3)."""
_NUMBERS = {
    "FD": "d",
    "FL": "f",
    "SL": "l",
    "SS": "h",
    "SV": "q",
    "UL": "L",
    "US": "H",
    "UV": "Q",
}
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_REPERTOIRES = (("", "ascii"), ("ISO_IR 100", "latin_1"), ("ISO_IR 192", "utf_8"))


@dataclass(frozen=True, slots=True)
class Element:
    """One element of an identifier.

    Attributes
    ----------
    vr
        Value representation.
    text
        The value as text: several values with a backslash between them, numbers
        in decimal. Empty for a sequence and for a binary VR.
    items
        Of a sequence.
    """

    vr: str
    text: str = ""
    items: tuple[Mapping[str, Element], ...] = ()


Identifier = Mapping[str, Element]
"""Elements by tag, eight upper-case hex digits."""


@dataclass(slots=True)
class _Reader:
    data: bytes
    explicit: bool
    order: str
    numbers: Mapping[str, Callable[[bytes, Charset], list[Any] | None]]
    place: int = 0
    charset: Charset = field(default_factory=lambda: Charset((), _ignore))

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.place:
            raise ValueError("identifier ends within an element")
        self.place += size
        return self.data[self.place - size : self.place]

    def unpack(self, layout: str) -> tuple[int, ...]:
        packed = struct.Struct(self.order + layout)
        return packed.unpack(self.take(packed.size))

    def header(self, creators: Mapping[int, str]) -> tuple[int, str, int]:
        group, element = self.unpack("HH")
        tag = group << 16 | element
        if group == 0xFFFE:
            return tag, "", self.unpack("L")[0]
        if not self.explicit:
            return tag, _implicit_vr(tag, creators), self.unpack("L")[0]
        raw = self.take(2)
        if raw in SHORT_VRS:
            return tag, SHORT_VRS[raw], self.unpack("H")[0]
        self.take(2)
        return tag, LONG_VRS.get(raw, "UN"), self.unpack("L")[0]


def decode_identifier(data: bytes, transfer_syntax: str) -> Identifier:
    """Read an identifier.

    Parameters
    ----------
    data
        The encoded data set.
    transfer_syntax
        One of :data:`IDENTIFIER_SYNTAXES`.

    Raises
    ------
    ValueError
        It is broken.
    """
    big = transfer_syntax == EXPLICIT_BIG
    reader = _Reader(data, transfer_syntax != IMPLICIT_LITTLE, ">" if big else "<", BIG if big else LITTLE)
    return _read_elements(reader, len(data), 0)


def _ignore(_sentence: str) -> None:
    """Answer a query in a wrong character set as well as it can be."""


def _implicit_vr(tag: int, creators: Mapping[int, str]) -> str:
    if not tag >> 16 & 1:
        return public_vr(tag)
    if 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    return private_vr(tag, creators.get(tag >> 8, ""))


def _read_elements(reader: _Reader, end: int, depth: int) -> dict[str, Element]:
    if depth > _DEEPEST:
        raise ValueError("identifier is nested too deeply")
    found: dict[str, Element] = {}
    creators: dict[int, str] = {}
    outer = reader.charset
    while reader.place < end:
        tag, vr, length = reader.header(creators)
        if tag == _ITEM_END:
            break
        if not vr:
            raise ValueError("identifier has an item outside of a sequence")
        if vr == "SQ" or length == _UNDEFINED:
            found[hex_tag(tag)] = Element("SQ", items=_read_items(reader, length, depth))
            continue
        raw = reader.take(length)
        element = Element(vr, _read_text(reader, vr, raw))
        if hex_tag(tag) == _CHARSET:
            reader.charset = Charset(tuple(part.strip() for part in element.text.split("\\")), _ignore)
        if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
            creators[tag >> 16 << 8 | tag & 0xFF] = element.text
        if tag & 0xFFFF:  # group lengths say nothing
            found[hex_tag(tag)] = element
    reader.charset = outer
    return found


def _read_items(reader: _Reader, length: int, depth: int) -> tuple[Mapping[str, Element], ...]:
    end = len(reader.data) if length == _UNDEFINED else reader.place + length
    if end > len(reader.data):
        raise ValueError("identifier ends within a sequence")
    items = []
    while reader.place < end:
        tag, _vr, size = reader.header({})
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            raise ValueError("a sequence has something that is no item")
        until = end if size == _UNDEFINED else reader.place + size
        if until > end:
            raise ValueError("an item is longer than its sequence")
        items.append(_read_elements(reader, until, depth + 1))
    return tuple(items)


def _read_text(reader: _Reader, vr: str, raw: bytes) -> str:
    if vr in _NUMBERS or vr == "AT":
        return "\\".join(str(value) for value in reader.numbers[vr](raw, reader.charset) or ())
    if vr in _BINARY_VRS:
        return ""
    text = reader.charset.decode(raw) if vr in _TEXT_VRS else raw.decode("utf_8", "replace")
    return text.rstrip(" \0")


def encode_answer(attributes: Attributes, transfer_syntax: str) -> bytes:
    """Write a data set from the DICOM JSON model, in one of :data:`IDENTIFIER_SYNTAXES`.

    Specific Character Set (0008,0005) is set to what the texts need: none for
    ASCII, else Latin-1, else UTF-8. Bulk values are left empty.
    """
    plain = {tag: value for tag, value in attributes.items() if tag != _CHARSET}
    for term, codec in _REPERTOIRES:
        content = {**plain, _CHARSET: {"vr": "CS", "Value": [term]}} if term else plain
        try:
            return _Writer(transfer_syntax, codec).elements(content)
        except UnicodeEncodeError:
            continue
    raise AssertionError("UTF-8 holds every text")  # pragma: no cover


class _Writer:
    def __init__(self, transfer_syntax: str, codec: str) -> None:
        self._explicit = transfer_syntax != IMPLICIT_LITTLE
        self._order = ">" if transfer_syntax == EXPLICIT_BIG else "<"
        self._short = struct.Struct(self._order + "HH2sH")
        self._long = struct.Struct(self._order + "HH2sHL")
        self._implicit = struct.Struct(self._order + "HHL")
        self._codec = codec

    def elements(self, attributes: Attributes) -> bytes:
        out = bytearray()
        for tag in sorted(attributes):
            entry = attributes[tag]
            vr = entry["vr"]
            value = self._value(vr, entry)
            if len(value) % 2:
                value += b"\0" if vr == "UI" or vr in _BINARY_VRS else b" "
            out += self._header(int(tag, 16), vr, len(value)) + value
        return bytes(out)

    def _header(self, tag: int, vr: str, length: int) -> bytes:
        group, element = tag >> 16, tag & 0xFFFF
        if not self._explicit or group == 0xFFFE:
            return self._implicit.pack(group, element, length)
        raw = vr.encode()
        if raw in SHORT_VRS and length <= 0xFFFF:
            return self._short.pack(group, element, raw, length)
        # Too long for its VR: UN (PS3.5 6.2.2).
        raw = raw if raw in LONG_VRS else b"UN"
        return self._long.pack(group, element, raw, 0, length)

    def _value(self, vr: str, entry: Mapping[str, Any]) -> bytes:
        if "InlineBinary" in entry:
            return base64.b64decode(entry["InlineBinary"])
        values = entry.get("Value") or []
        if vr == "SQ":
            return b"".join(self._item(item) for item in values)
        if vr in _NUMBERS or vr == "AT":
            return self._pack(vr, values)
        if vr in _BINARY_VRS or vr.encode() not in KNOWN_VRS:
            return b""
        return self._encode("\\".join(_text(vr, value) for value in values), vr)

    def _item(self, item: Attributes | None) -> bytes:
        content = self.elements(item or {})
        return self._header(_ITEM, "", len(content)) + content

    def _pack(self, vr: str, values: list[Any]) -> bytes:
        given = [value for value in values if value is not None]
        try:
            if vr == "AT":
                halves = [int(half, 16) for value in given for half in (value[:4], value[4:])]
                return struct.pack(f"{self._order}{len(halves)}H", *halves)
            numbers = [float(value) if vr in {"FD", "FL"} else int(value) for value in given]
            return struct.pack(f"{self._order}{len(numbers)}{_NUMBERS[vr]}", *numbers)
        except (ValueError, TypeError, OverflowError, struct.error):
            # An illegal value that was kept as text: there are no bytes for it in this VR.
            return b""

    def _encode(self, text: str, vr: str) -> bytes:
        if vr not in _TEXT_VRS:
            return text.encode("ascii", "replace")
        raw = text.encode(self._codec)
        if self._codec == "latin_1" and any(0x80 <= byte <= 0x9F for byte in raw):
            # Control characters: no part of ISO 8859-1.
            raise UnicodeEncodeError("latin_1", text, 0, 1, "C1 control character")
        return raw


def _text(vr: str, value: Any) -> str:
    if value is None:
        return ""
    if vr == "PN":
        if not isinstance(value, Mapping):
            return str(value)
        groups = [str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    if isinstance(value, float):
        return decimal_string(value)
    return str(value)


def decimal_string(value: float) -> str:
    """Return a number in at most the 16 characters of a DS (PS3.5 6.2)."""
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"
