"""From the DICOM JSON model (PS3.18 F.2) to the bytes of a value, by value representation (PS3.5 6.2).

The opposite of :mod:`vna.dicom.values`, in little endian and UTF-8.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from vna.dicom.dataset import decimal_string

_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")


def encode(vr: str, values: Any) -> bytes:
    """Return the bytes of a value, without padding to an even length.

    Parameters
    ----------
    vr
        Value representation; no sequence.
    values
        What ``Value`` has, ``None`` if there is none.

    Raises
    ------
    ValueError
        It is no value of the VR.
    TypeError
        It is no array, or of another type than the VR has.
    """
    if values is None:
        return b""
    if not isinstance(values, list):
        raise TypeError("Value is no array")
    if not values or values == [None]:
        return b""
    if vr in _NUMBERS:
        return _pack(vr, values)
    if vr == "AT":
        return b"".join(_tag(value) for value in values)
    make = _TEXTS.get(vr)
    if make is None:
        raise ValueError(f"a value of VR {vr} is InlineBinary or bulk data")
    if vr in _ONE_TEXT and len(values) > 1:
        raise ValueError(f"VR {vr} has one value, not {len(values)}")
    texts = ["" if value is None else make(value) for value in values]
    if vr not in _ONE_TEXT and any("\\" in text for text in texts):
        raise ValueError("a value has a backslash, which stands between values")
    return "\\".join(texts).encode()


def _pack(vr: str, values: list[Any]) -> bytes:
    number = float if vr in {"FL", "FD"} else _whole
    try:
        return struct.pack(f"<{len(values)}{_NUMBERS[vr]}", *(number(_no_flag(value)) for value in values))
    except (struct.error, OverflowError, TypeError) as error:
        raise ValueError(f"a value is no number of VR {vr}: {error}") from error


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError("true and false are no numbers")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise TypeError(f"{value} is not whole")
    # SV and UV may be given as texts (PS3.18 F.2.3).
    return int(value)


def _tag(value: Any) -> bytes:
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError("a tag has eight hex digits")
    return struct.pack("<HH", int(value[:4], 16), int(value[4:], 16))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a value is {type(value).__name__}, not text")
    return value


def _integer(value: Any) -> str:
    # What is a text was no number where it came from, and is kept as it was.
    return value if isinstance(value, str) else str(_whole(_no_flag(value)))


def _decimal(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(_no_flag(value), int) and len(str(value)) <= 16:
        return str(value)
    return decimal_string(float(value))


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise TypeError("a name has component groups")
    return "=".join(_text(value.get(name) or "") for name in _GROUPS).rstrip("=")


_ONE_TEXT = frozenset({"LT", "ST", "UT", "UR"})
_TEXTS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"), _text),
    "IS": _integer,
    "DS": _decimal,
    "PN": _name,
}
