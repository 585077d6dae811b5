"""Dates, times and date-times of a query, canonical, with the span that a value of less precision covers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})|(\d{4})\.(\d{2})\.(\d{2})")
# PS3.5 6.2 TM, and the form with colons of ACR-NEMA that archives are told to read.
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATETIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?"
)
_OFFSET = re.compile(r"[+-]\d{4}")


@dataclass(frozen=True, slots=True)
class Span:
    """First and last canonical text of a value; equal when the value is of full precision."""

    low: str
    high: str


def date(text: str) -> Span:
    """Read a DA (PS3.5 6.2); raises ``ValueError``."""
    found = _DATE.fullmatch(text)
    if not found:
        raise ValueError("a date is YYYYMMDD")
    year, month, day = (part for part in found.groups() if part is not None)
    datetime(int(year), int(month), int(day), tzinfo=UTC)
    return Span(year + month + day, year + month + day)


def time(text: str) -> Span:
    """Read a TM (PS3.5 6.2), of any precision; raises ``ValueError``."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("a time is HHMMSS.FFFFFF, or a beginning of it")
    hour, minute, second, fraction = found.groups()
    # 60 is a leap second (PS3.5 6.2); it sorts after 59 as a text, as it should.
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:
        raise ValueError("an hour, minute or second is out of its range")
    start = f"{hour}{minute or '00'}{second or '00'}.{(fraction or '').ljust(6, '0')}"
    end = f"{hour}{minute or '59'}{second or '59'}.{(fraction or '').ljust(6, '9')}"
    return Span(start, end)


def time_prefix(text: str) -> str:
    """Return what the canonical forms of all times that a partial TM covers begin with."""
    return text.replace(":", "") if "." in text or len(text.replace(":", "")) < 6 else text.replace(":", "") + "."


def datetime_(text: str) -> Span:
    """Read a DT (PS3.5 6.2), of any precision; with an offset it is turned to UTC; raises ``ValueError``."""
    found = _DATETIME.fullmatch(text)
    if not found:
        raise ValueError("a date-time is YYYYMMDDHHMMSS.FFFFFF&ZZXX, or a beginning of it")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    # A leap second has no place in Python's datetime; the last microsecond before it stands for it.
    leap = second == "60"
    low = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), 59 if leap else int(second or 0),
        999999 if leap else int((fraction or "").ljust(6, "0")), tzinfo=UTC,
    )  # fmt: skip
    last_day = int(day) if day else _last_day(int(year), int(month or 12))
    high = datetime(
        int(year), int(month or 12), last_day, int(hour or 23), int(minute or 59), 59 if leap else int(second or 59),
        999999 if leap else int((fraction or "").ljust(6, "9")), tzinfo=UTC,
    )  # fmt: skip
    if offset:
        zone = _zone(offset)
        low, high = (moment.replace(tzinfo=zone).astimezone(UTC) for moment in (low, high))
    return Span(_canonical(low), _canonical(high))


def split_range(text: str, *, offsets: bool = False) -> tuple[str, str] | None:
    """Split range matching's ``a-b``, ``-b``, ``a-``; ``None`` if the text is a single value.

    With ``offsets`` a ``-ZZXX`` behind a value is its offset from UTC and not a
    range (PS3.4 C.2.2.2.5: the offset, if present, is of the value before it;
    a year of four digits beginning with 00 to 14 is none that a DICOM object has).

    Raises
    ------
    ValueError
        More hyphens than a range has.
    """
    if not offsets:
        parts = text.split("-")
        if len(parts) == 1:
            return None
        if len(parts) > 2:
            raise ValueError("a range has one hyphen")
        return parts[0].strip(), parts[1].strip()
    for place, sign in enumerate(text):
        if sign != "-" or (place and _is_offset(text, place)):
            continue
        return text[:place].strip(), text[place + 1 :].strip()
    return None


def _is_offset(text: str, place: int) -> bool:
    digits = text[place + 1 : place + 5]
    ends = place + 5 >= len(text) or text[place + 5] == "-"
    return ends and bool(_OFFSET.fullmatch("-" + digits)) and int(digits[:2]) <= 14 and "+" not in text[:place]


def _zone(offset: str) -> timezone:
    hours, minutes = int(offset[1:3]), int(offset[3:5])
    if hours > 14 or minutes > 59:
        raise ValueError("the offset from UTC is out of its range")
    shift = timedelta(hours=hours, minutes=minutes)
    return timezone(-shift if offset[0] == "-" else shift)


def _last_day(year: int, month: int) -> int:
    if not 1 <= month <= 12:
        raise ValueError("a month is 01 to 12")
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC) if (year, month) != (9999, 12) else None
    return (following - timedelta(days=1)).day if following else 31


def _canonical(moment: datetime) -> str:
    return f"{moment.year:04d}{moment:%m%d%H%M%S}.{moment.microsecond:06d}"
