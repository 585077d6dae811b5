"""One text for each date, time and number, for data and for queries alike (PS3.5 6.2)."""

from __future__ import annotations

import re
from calendar import monthrange
from functools import lru_cache
from math import isfinite
from struct import Struct
from struct import error as struct_error
from typing import Literal

Fill = Literal["low", "high"]

_SINGLE = Struct("<f")

_DATE = re.compile(r"(\d{4})([.\-/]?)(\d{2})\2(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?)?", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?([+\-]\d{4})?", re.ASCII
)


@lru_cache(maxsize=4096)
def date(text: str) -> str:
    """Return a date as ``YYYYMMDD``.

    ``YYYY.MM.DD`` of the ACR-NEMA standard, and the same with hyphens or
    slashes, are understood. Raises ``ValueError`` for what is no date of the
    calendar.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a date")
    year, month, day = int(match[1]), int(match[3]), int(match[4])
    if not (year and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]):
        raise ValueError(f"{text!r} is not a date of the calendar")
    return match[1] + match[3] + match[4]


def partial_time(text: str) -> str:
    """Return a time as ``HH``, ``HHMM``, ``HHMMSS`` or ``HHMMSS.F`` with up to six digits, precision as given.

    ``HH:MM:SS`` is understood. Raises ``ValueError`` for what is no time; a leap
    second is one (PS3.5 6.2, TM).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    hour, minute, second, fraction = match.groups()
    if hour > "23" or (minute or "00") > "59" or (second or "00") > "60":
        raise ValueError(f"{text!r} is not a time of the day")
    return f"{hour}{minute or ''}{second or ''}{'.' + fraction[:6] if fraction else ''}"


@lru_cache(maxsize=4096)
def time(text: str, fill: Fill = "low") -> str:
    """Return a time as ``HHMMSS.ffffff``.

    Parameters
    ----------
    text
        A time, of any precision.
    fill
        What missing parts become: the earliest or the latest time that it may be.

    Raises
    ------
    ValueError
        It is no time.
    """
    given = partial_time(text)
    clock, _, fraction = given.partition(".")
    if fill == "low":
        return f"{clock:0<6}.{fraction:0<6}"
    return f"{clock}{'235959'[len(clock) :]}.{fraction:9<6}"


def partial_datetime(text: str) -> str:
    """Return a date time with its precision and offset as given; raises ``ValueError`` for what is none.

    ``YYYY-MM-DDTHH:MM:SS`` is understood.
    """
    match = _DATETIME.fullmatch(text)
    if match is None:
        plain = re.sub(r"(?<=\d)[T ](?=\d)|(?<=\d):(?=\d)|(?<=\d{4})-(?=\d\d-)|(?<=-\d\d)-(?=\d\d)", "", text)
        match = _DATETIME.fullmatch(plain)
        if match is None:
            raise ValueError(f"{text!r} is not a date time")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    date(year + (month or "01") + (day or "01"))
    if hour:
        partial_time(hour + (minute or "") + (second or ""))
    parts = (year, month, day, hour, minute, second)
    return "".join(part or "" for part in parts) + (f".{fraction}" if fraction else "") + (offset or "")


@lru_cache(maxsize=4096)
def datetime(text: str, fill: Fill = "low") -> str:
    """Return a date time as ``YYYYMMDDHHMMSS.ffffff``, missing parts filled as :func:`time` does.

    The offset from UTC is left out: values are compared by the clock of where
    they were written, as those without an offset must be.
    """
    given = partial_datetime(text)
    clock, _, fraction = re.split(r"[+\-]", given)[0].partition(".")
    if fill == "low":
        return f"{clock}{'00000101000000'[len(clock) :]}.{fraction:0<6}"
    if len(clock) == 4:
        clock += "12"
    if len(clock) == 6:
        clock += f"{monthrange(int(clock[:4]), int(clock[4:]))[1]:02d}"
    return f"{clock}{'00000000235959'[len(clock) :]}.{fraction:9<6}"


def number(value: float | str) -> str:
    """Return a number as its shortest decimal text: ``5`` for ``+05.0``; raises ``ValueError`` for what is none."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        text = value.strip()
        if "_" in text or not text.isascii():
            raise ValueError(f"{value!r} is not a number")
        if len(text) <= 32 and text.lstrip("+-").isdigit():
            return str(int(text))
        value = float(text)
    if not isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@lru_cache(maxsize=16384)
def single(value: float) -> str:
    """Return a number of single precision (PS3.5 6.2, FL) as its shortest decimal text.

    ``10.60061`` for the double 10.60060977935791 that it becomes in JSON.
    """
    try:
        packed = _SINGLE.pack(value)
        for digits in (6, 7, 8, 9):
            text = f"{value:.{digits}g}"
            if _SINGLE.pack(float(text)) == packed:
                # A double that never was a single keeps its digits.
                return number(text) if _SINGLE.unpack(packed)[0] == value else number(value)
    except (OverflowError, struct_error):
        pass
    return number(value)
