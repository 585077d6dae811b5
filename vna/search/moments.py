"""Dates, times and date-times of a query: the span that a value covers, and ranges (PS3.4 C.2.2.2.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vna.normalise import canonical

_OFFSET = re.compile(r"\d{4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """First and last canonical text that a value stands for; equal for one of full precision."""

    low: str
    high: str


def date(text: str) -> Span:
    """Read a DA; raises ``ValueError``."""
    found = canonical.date(text)
    return Span(found, found)


def time(text: str) -> Span:
    """Read a TM of any precision; raises ``ValueError``."""
    return Span(canonical.time(text), canonical.time(text, "high"))


def time_prefix(text: str) -> str:
    """Return what the canonical forms of all times that a TM covers begin with."""
    given = canonical.partial_time(text)
    return given + "." if len(given) == 6 else given


def date_time(text: str) -> Span:
    """Read a DT of any precision; raises ``ValueError``. An offset from UTC is set aside, as in the index."""
    return Span(canonical.datetime(text), canonical.datetime(text, "high"))


def split_range(text: str, *, offsets: bool = False) -> tuple[str, str] | None:
    """Split ``a-b``, ``-b`` and ``a-``; ``None`` if the text is a single value.

    With ``offsets`` a ``-ZZXX`` behind a value is its offset from UTC, if it is
    one that there is (up to 14 hours; years begin later): PS3.5 6.2, DT.

    Raises
    ------
    ValueError
        More hyphens than a range has.
    """
    if not offsets:
        parts = text.split("-")
        if len(parts) > 2:
            raise ValueError("a range has one hyphen")
        return (parts[0].strip(), parts[1].strip()) if len(parts) == 2 else None
    for place, sign in enumerate(text):
        if sign == "-" and not (place and _is_offset(text, place)):
            return text[:place].strip(), text[place + 1 :].strip()
    return None


def _is_offset(text: str, place: int) -> bool:
    digits = text[place + 1 : place + 5]
    ends = place + 5 >= len(text) or text[place + 5] == "-"
    return ends and bool(_OFFSET.fullmatch(digits)) and int(digits[:2]) <= 14 and "+" not in text[:place]
