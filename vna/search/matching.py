"""Attribute matching (PS3.4 C.2.2.2): from the text of one key to criteria of the index.

Shared by C-FIND and QIDO-RS. The forms of matching are told apart by the value
and its VR alone: universal, single value, list of UID, range, wild card, empty
value, multiple values. Sequence matching is the caller's: a path may lead
through sequences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vna.dicom.dictionary import keyword_of
from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Range, Wildcard
from vna.normalise import canonical
from vna.normalise.fold import fold_name
from vna.search import moments
from vna.search.moments import Span

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""VRs with wild card matching (PS3.4 C.2.2.2.4)."""

_ONE_VALUE_VRS = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is a character there (PS3.5 6.2)
_NUMBER_VRS = ("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV")
_READERS: dict[str, Callable[[str], Span]] = {"DA": moments.date, "TM": moments.time, "DT": moments.date_time}
_EMPTY = '""'  # PS3.4 C.2.2.2.7
_UID = re.compile(r"[0-9A-Za-z._-]{1,64}")  # senders do put letters into UIDs, and ask for them
_AGE = re.compile(r"\d{3}[DWMY]")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")

DATE_TIME_PAIRS: tuple[tuple[str, str], ...] = (
    ("00080020", "00080030"),  # StudyDate, StudyTime
    ("00080021", "00080031"),  # SeriesDate, SeriesTime
    ("00080022", "00080032"),  # AcquisitionDate, AcquisitionTime
    ("00080023", "00080033"),  # ContentDate, ContentTime
    ("00100030", "00100032"),  # PatientBirthDate, PatientBirthTime
    ("00400244", "00400245"),  # PerformedProcedureStepStartDate, PerformedProcedureStepStartTime
    ("00400250", "00400251"),  # PerformedProcedureStepEndDate, PerformedProcedureStepEndTime
)
"""Attributes that combined date-time matching joins (PS3.4 C.2.2.2.5.1)."""


def criteria_for(path: str, vr: str, value: str) -> tuple[Criterion, ...]:
    r"""Return the criteria that a matching key stands for.

    Parameters
    ----------
    path
        The attribute (see :mod:`vna.domain.query`).
    vr
        Its value representation.
    value
        The key's text; several values are separated by a backslash.

    Returns
    -------
    tuple of Criterion
        All must hold. None for universal matching: an empty value or ``*``.

    Raises
    ------
    InvalidQueryError
        The value is none that the VR allows in a query; names the attribute.
    """
    text = _trim(value)
    if vr == "CS":
        # A code string has no small letters (PS3.5 6.2); the index holds what senders meant.
        text = " ".join(text.upper().split())
    if not text or not text.strip("*"):
        return ()
    values = [text] if vr in _ONE_VALUE_VRS else [_trim(part) for part in text.split("\\")]
    values = list(dict.fromkeys(part for part in values if part))
    if not values:
        return ()
    try:
        if values == [_EMPTY]:
            return (AnyOf(path, ("",)),)
        if vr == "PN":
            return _names(path, values)
        if vr in _READERS:
            return (_moments(path, vr, values),)
        return (_texts(path, vr, values),)
    except ValueError as error:
        raise refuse(path, value, str(error)) from error


def combine_datetime(
    criteria: Sequence[Criterion], pairs: Sequence[tuple[str, str]] = DATE_TIME_PAIRS
) -> tuple[Criterion, ...]:
    """Merge a date range and a time range of one pair into one range of moments.

    Combined date-time matching (PS3.4 C.2.2.2.5.1): in C-FIND when it was
    negotiated, in QIDO-RS always (PS3.18 8.3.4.1.1). A single date or a single
    time is no range and stays a criterion of its own.
    """
    merged: list[Criterion] = list(criteria)
    for date_path, time_path in pairs:
        dates = [found for found in merged if isinstance(found, Range) and found.path == date_path]
        times = [found for found in merged if isinstance(found, Range) and found.path == time_path]
        if len(dates) != 1 or len(times) != 1:
            continue
        low = dates[0].low and dates[0].low + (times[0].low or "000000.000000")
        high = dates[0].high and dates[0].high + (times[0].high or "235959.999999")
        merged[merged.index(dates[0])] = DateTimeRange(date_path, time_path, low, high)
        merged.remove(times[0])
    return tuple(merged)


def describe(path: str) -> str:
    """Return an attribute's path as a person reads it: keywords where the dictionary has them."""
    return ".".join(keyword_of(int(part, 16)) or part if _TAG.fullmatch(part) else part for part in path.split("."))


def _trim(text: str) -> str:
    return text.strip().strip("\0").strip()


def refuse(path: str, value: str, why: str) -> InvalidQueryError:
    """Return the error for a value that cannot be matched."""
    return InvalidQueryError(f"{describe(path)}: {value[:64]!r} cannot be matched: {why}", attribute=path)


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _names(path: str, values: list[str]) -> tuple[Criterion, ...]:
    """Person names (PS3.5 6.2.1.2): each component group given must match a component group."""
    if len(values) == 1:
        groups = [_name(group) for group in values[0].split("=")]
        groups = [group for group in groups if group.strip("*^")]
        return tuple(
            Wildcard(path, group) if _has_wildcard(group) else AnyOf(path, (group,)) for group in dict.fromkeys(groups)
        )
    if any(_has_wildcard(value) or "=" in value for value in values):
        raise ValueError("several names cannot be joined with wild cards or component groups")
    return (AnyOf(path, tuple(dict.fromkeys(_or_empty(value, _name) for value in values))),)


def _name(text: str) -> str:
    family, comma, given = text.partition(",")
    # As the normaliser reads what people write: "Doe, Jane" is Doe^Jane.
    if comma and "^" not in text and "," not in given and family.strip() and given.strip():
        text = f"{family}^{given}"
    return fold_name(text)


def _moments(path: str, vr: str, values: list[str]) -> Criterion:
    read = _READERS[vr]
    ranges = [moments.split_range(value, offsets=vr == "DT") if value != _EMPTY else None for value in values]
    if len(values) == 1 and (ends := ranges[0]):
        low = read(ends[0]).low if ends[0] else None
        high = read(ends[1]).high if ends[1] else None
        if low is None and high is None:
            raise ValueError("a range has at least one end")
        return Range(path, low, high)
    if any(ranges):
        raise ValueError("a range cannot be one of several values")
    spans = [Span("", "") if value == _EMPTY else read(value) for value in values]
    if all(span.low == span.high for span in spans):
        return AnyOf(path, tuple(span.low for span in spans))
    if len(values) > 1:
        raise ValueError("several values of less than full precision cannot be joined")
    if vr == "TM":
        # Not a Range: with a range of dates it must not become a range of moments.
        return Wildcard(path, moments.time_prefix(values[0]) + "*")
    return Range(path, spans[0].low, spans[0].high)


def _texts(path: str, vr: str, values: list[str]) -> Criterion:
    if vr in WILDCARD_VRS:
        if not any(_has_wildcard(value) for value in values):
            return AnyOf(path, tuple(_or_empty(value, str) for value in values))
        if len(values) > 1:
            raise ValueError("several values cannot be joined with wild cards")
        return Wildcard(path, values[0])
    reader = _READ_ONE.get(vr)
    if reader is None:
        raise ValueError(f"there is no matching by VR {vr}")
    return AnyOf(path, tuple(dict.fromkeys(_or_empty(value, reader) for value in values)))


def _or_empty(value: str, reader: Callable[[str], str]) -> str:
    return "" if value == _EMPTY else reader(value)


def _uid(text: str) -> str:
    if not _UID.fullmatch(text):
        raise ValueError("a UID is at most 64 digits and dots, without wild cards")
    return text


def _age(text: str) -> str:
    if not _AGE.fullmatch(text):
        raise ValueError("an age is three digits and one of D, W, M, Y")
    return text


def _tag(text: str) -> str:
    if not _TAG.fullmatch(text):
        raise ValueError("an attribute tag is eight hex digits")
    return text.upper()


_READ_ONE: dict[str, Callable[[str], str]] = {"UI": _uid, "AS": _age, "AT": _tag} | dict.fromkeys(
    _NUMBER_VRS, canonical.number
)
