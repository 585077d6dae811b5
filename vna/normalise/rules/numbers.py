"""Numbers as text (PS3.5 6.2, IS and DS)."""

from __future__ import annotations

from math import isfinite
from typing import Any

from vna.normalise.rules.rule import Rule

_SAFE = 1 << 53


def _parse(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        if "_" in text or not text.isascii():
            return None
        if text.count(",") == 1 and "." not in text:
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if isfinite(value) else None
    except OverflowError:
        return None


def _integer(value: Any) -> Any:
    number = _parse(value)
    if number is None or number != int(number):
        return None
    return int(number) if abs(number) < _SAFE else None


INTEGERS = Rule("integers", frozenset({"IS"}), _integer)
"""JSON integers; what is none is not in the normalised view."""

DECIMALS = Rule("decimals", frozenset({"DS"}), _parse)
"""JSON numbers, a decimal comma understood; what is none is not in the normalised view."""
