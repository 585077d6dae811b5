"""Canonical texts for matching: what the index compares, and the words of the free-text search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vna.domain.records import Attributes, SharedElement
from vna.normalise import canonical
from vna.normalise.fold import fold, fold_name

LONGEST_TERM = 512
LONGEST_TEXT = 256
MOST_DEPTH = 3
MOST_TERMS = 1024
"""Different terms of one path; an instance with more is not found by those beyond."""

Term = Callable[[Any], str]


def _text(value: Any) -> str:
    return value.strip() if type(value) is str else str(value).strip()


def _long(value: Any) -> str:
    text = str(value).strip()
    return text if len(text) <= LONGEST_TEXT else ""


_TERM: dict[str, Term] = {
    **dict.fromkeys(("AE", "AS", "CS", "LO", "SH", "UI", "UR", "AT"), _text),
    **dict.fromkeys(("LT", "ST", "UT", "UC"), _long),
    **dict.fromkeys(("DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FD"), canonical.number),
    "FL": canonical.single,
    "DA": canonical.date,
    "TM": canonical.time,
    "DT": canonical.datetime,
}
"""How a value becomes a term, by value representation. Person names and sequences are seen to apart."""

_ODD = frozenset("13579BDF")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def terms(attributes: Attributes) -> dict[str, tuple[str, ...]]:
    """Return the terms of a normalised data set by path, as :mod:`vna.domain.query` describes them.

    Person names give one folded term for each component group; all else is the
    exact text without blanks around it, numbers as their shortest decimal text,
    times as ``HHMMSS.ffffff``. Values over 512 characters are left out, texts of
    LT, ST, UT and UC over 256. Sequences are entered three deep; the terms of
    all items of a sequence come together under a path without item numbers.
    """
    found: dict[str, tuple[str, ...]] = {}
    several: dict[str, dict[str, None]] = {}
    _dataset(attributes, "", 0, found, several)
    return found | {path: tuple(texts) for path, texts in several.items()}


def _dataset(
    attributes: Attributes, prefix: str, depth: int, found: dict[str, tuple[str, ...]],
    several: dict[str, dict[str, None]],
) -> None:  # fmt: skip
    """Note the terms of a data set; ``several`` has those of paths that come again, in the items of a sequence."""
    creators: dict[str, str] = {}
    for tag, element in attributes.items():
        if type(element) is SharedElement:
            texts = element.texts
            if texts is None:
                texts = element.texts = _texts(element.get("vr"), element.get("Value"))
            if texts:
                path = prefix + (_path(tag, attributes, creators) if tag[3:4] in _ODD else tag)
                if path not in found:
                    found[path] = texts
                elif found[path] is not texts:
                    _add(several, path, found[path], texts)
            continue
        if not isinstance(element, dict):
            continue
        vr, values = element.get("vr"), element.get("Value")
        if vr == "SQ" and type(values) is list:
            if depth < MOST_DEPTH:
                path = _path(tag, attributes, creators) if tag[3:4] in _ODD else tag
                for item in values:
                    if type(item) is dict:
                        _dataset(item, f"{prefix}{path}.", depth + 1, found, several)
            continue
        texts = _texts(vr, values)
        if texts:
            path = prefix + (_path(tag, attributes, creators) if tag[3:4] in _ODD else tag)
            if path not in found:
                found[path] = texts
            else:
                _add(several, path, found[path], texts)


def _texts(vr: Any, values: Any) -> tuple[str, ...]:
    """Return the different terms of an element, sequences left out."""
    if not values or type(values) is not list or type(vr) is not str:
        return ()
    if vr == "PN":
        texts = _name_terms(values)
    elif (term := _TERM.get(vr)) is not None:
        texts = _value_terms(values, term)
    else:
        return ()
    return tuple(dict.fromkeys(texts[:MOST_TERMS]))


def _add(several: dict[str, dict[str, None]], path: str, first: tuple[str, ...], more: tuple[str, ...]) -> None:
    known = several.get(path)
    if known is None:
        known = several[path] = dict.fromkeys(first)
    if len(known) < MOST_TERMS:
        known.update(dict.fromkeys(more[: MOST_TERMS - len(known)]))


def _value_terms(values: list[Any], term: Term) -> list[str]:
    texts = []
    for value in values:
        if value is None:
            continue
        try:
            text = term(value)
        except (ValueError, TypeError, OverflowError):
            continue
        if text and len(text) <= LONGEST_TERM:
            texts.append(text)
    return texts


def _name_terms(values: list[Any]) -> list[str]:
    texts = []
    for value in values:
        if type(value) is not dict:
            continue
        for group in _GROUPS:
            part = value.get(group)
            if type(part) is str and part:
                text = fold_name(part)
                if text and len(text) <= LONGEST_TERM:
                    texts.append(text)
    return texts


def _path(tag: str, attributes: Attributes, creators: dict[str, str]) -> str:
    """Return a private tag as a part of a path: by its creator (PS3.5 7.8), wherever its block lies."""
    block = tag[:6]
    creator = creators.get(block)
    if creator is None:
        creator = creators[block] = private_creator(tag, attributes)
    return f"{tag[:4]}xx{tag[6:]}@{creator}" if creator else tag


def private_creator(tag: str, attributes: Attributes) -> str:
    """Return the private creator of an attribute, empty for one that has none."""
    if tag[4:6] == "00":
        return ""
    element = attributes.get(f"{tag[:4]}00{tag[4:6]}")
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]).strip() if isinstance(values, list) and values and values[0] is not None else ""


WORD_TAGS = (
    "00100010",  # PatientName
    "00100020",  # PatientID
    "00080050",  # AccessionNumber
    "00081030",  # StudyDescription
    "0008103E",  # SeriesDescription
    "00200010",  # StudyID
    "00080060",  # Modality
    "00180015",  # BodyPartExamined
    "00080070",  # Manufacturer
    "00080080",  # InstitutionName
    "00080090",  # ReferringPhysicianName
)


def words(attributes: Attributes) -> tuple[str, ...]:
    """Return the distinct folded words of a normalised data set's names, numbers and descriptions."""
    found: dict[str, None] = {}
    for tag in WORD_TAGS:
        element = attributes.get(tag)
        values = element.get("Value") if isinstance(element, dict) else None
        if not isinstance(values, list):
            continue
        for value in values:
            texts = value.values() if isinstance(value, dict) else (value,)
            for text in texts:
                if isinstance(text, str):
                    for word in fold(text).replace("^", " ").replace(",", " ").split():
                        found[word[:LONGEST_TEXT]] = None
    return tuple(found)
