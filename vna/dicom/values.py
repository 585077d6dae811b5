"""From the bytes of a value to the DICOM JSON model (PS3.18 F.2), by value representation (PS3.5 6.2)."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from struct import Struct, unpack
from typing import Any

from vna.dicom.charset import Charset

Converter = Callable[[bytes, Charset], list[Any] | None]
"""Returns the values, ``None`` if there are none; raises ``ValueError`` for bytes that are not of the VR."""

_SAFE_INTEGER = 1 << 53
_PADDING = " \0"


def _plain(raw: bytes, charset: Charset) -> list[Any] | None:
    """AE AS CS DA DT TM: default repertoire, several values."""
    text = (raw.decode("ascii") if raw.isascii() else charset.decode(raw)).rstrip(_PADDING)
    if "\\" in text:
        return [part or None for part in text.split("\\")]
    return [text] if text else None


def _uid(raw: bytes, charset: Charset) -> list[Any] | None:
    text = (raw.decode("ascii") if raw.isascii() else charset.decode(raw)).strip(_PADDING)
    if "\\" in text:
        return [part.strip(_PADDING) or None for part in text.split("\\")]
    return [text] if text else None


def _text(raw: bytes, charset: Charset) -> list[Any] | None:
    """LO SH UC: several values."""
    text = charset.decode(raw).rstrip(_PADDING)
    if "\\" in text:
        return [part or None for part in text.split("\\")]
    return [text] if text else None


def _long_text(raw: bytes, charset: Charset) -> list[Any] | None:
    """LT ST UT: one value."""
    text = charset.decode(raw).rstrip(_PADDING)
    return [text] if text else None


def _uri(raw: bytes, charset: Charset) -> list[Any] | None:
    text = charset.decode(raw).rstrip(_PADDING)
    return [text] if text else None


_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def _person(text: str) -> dict[str, str] | None:
    if "=" not in text:
        return {"Alphabetic": text} if text else None
    groups = {name: part for name, part in zip(_GROUPS, text.split("=", 2), strict=False) if part}
    return groups or None


def _names(raw: bytes, charset: Charset) -> list[Any] | None:
    text = charset.decode(raw).rstrip(_PADDING)
    if "\\" in text:
        return [_person(part) for part in text.split("\\")]
    found = _person(text)
    return None if found is None else [found]


def _integer(text: str) -> int | str | None:
    text = text.strip(_PADDING)
    try:
        number = int(text)
    except ValueError:
        return text or None
    return number if -_SAFE_INTEGER < number < _SAFE_INTEGER and "_" not in text else text


def _integers(raw: bytes, charset: Charset) -> list[Any] | None:
    text = (raw.decode("ascii") if raw.isascii() else charset.decode(raw)).strip(_PADDING)
    if not text:
        return None
    return [_integer(part) for part in text.split("\\")]


def _decimal(text: str) -> float | str | None:
    text = text.strip(_PADDING)
    try:
        number = float(text)
    except ValueError:
        return text or None
    return number if isfinite(number) and "_" not in text else text


def _decimals(raw: bytes, charset: Charset) -> list[Any] | None:
    text = (raw.decode("ascii") if raw.isascii() else charset.decode(raw)).strip(_PADDING)
    if not text:
        return None
    return [_decimal(part) for part in text.split("\\")]


def _numbers(code: str, size: int, order: str) -> Converter:
    single = Struct(order + code)

    def convert(raw: bytes, _charset: Charset) -> list[Any] | None:
        count, rest = divmod(len(raw), size)
        if rest:
            raise ValueError(f"{len(raw)} bytes are not a multiple of {size}")
        if count == 1:
            return list(single.unpack(raw))
        return list(unpack(f"{order}{count}{code}", raw)) if count else None

    return convert


def _floats(code: str, size: int, order: str) -> Converter:
    numbers = _numbers(code, size, order)

    def convert(raw: bytes, charset: Charset) -> list[Any] | None:
        found = numbers(raw, charset)
        if found is None or all(map(isfinite, found)):
            return found
        # JSON has no such numbers; the text is what XML Schema and PS3.19 write.
        return [
            number if isfinite(number) else "NaN" if number != number else "INF" if number > 0 else "-INF"  # noqa: PLR0124 - the one test that needs no import
            for number in found
        ]

    return convert


def _tags(order: str) -> Converter:
    def convert(raw: bytes, _charset: Charset) -> list[Any] | None:
        count, rest = divmod(len(raw), 4)
        if rest:
            raise ValueError(f"{len(raw)} bytes are not a multiple of 4")
        halves = unpack(f"{order}{2 * count}H", raw)
        return [f"{halves[i]:04X}{halves[i + 1]:04X}" for i in range(0, 2 * count, 2)] or None

    return convert


def _converters(order: str) -> dict[str, Converter]:
    return (
        dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "TM"), _plain)
        | dict.fromkeys(("LO", "SH", "UC"), _text)
        | dict.fromkeys(("LT", "ST", "UT"), _long_text)
        | {"UI": _uid, "UR": _uri, "PN": _names, "IS": _integers, "DS": _decimals, "AT": _tags(order)}
        | {
            vr: _numbers(code, size, order)
            for vr, code, size in (
                *(("US", "H", 2), ("SS", "h", 2), ("UL", "L", 4)),
                *(("SL", "l", 4), ("UV", "Q", 8), ("SV", "q", 8)),
            )
        }
        | {"FL": _floats("f", 4, order), "FD": _floats("d", 8, order)}
    )


LITTLE = _converters("<")
BIG = _converters(">")
"""Converters by value representation for the two byte orders (PS3.5 7.3). The binary ones are not among them."""

UNIT = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes of one word of a binary value, where byte order matters (PS3.5 6.2)."""


def little_endian(raw: bytes, vr: str) -> bytes:
    """Return a big endian binary value in the byte order of InlineBinary (PS3.18 F.2.7), which is little endian."""
    unit = UNIT.get(vr, 1)
    if unit == 1 or len(raw) % unit:
        return raw
    return b"".join(raw[at : at + unit][::-1] for at in range(0, len(raw), unit))
