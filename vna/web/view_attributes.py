"""The attributes of an instance as rows of a table, with what normalisation shows otherwise beside them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vna.dicom.dictionary import keyword_of
from vna.dicom.header import Bulk
from vna.domain import quantities
from vna.domain.records import Attributes
from vna.ingest.document import Metadata
from vna.normalise.terms import private_creator

MOST_ROWS = 5000
LONGEST = 400
_MOST_VALUES = 64
_SHOWN_BYTES = 16
_CONTEXT = 40
_BLANKS = " \0\r\n\t"
_ODD = "13579BDF"
# Open box; symbols for null, line feed, carriage return, tab.
_VISIBLE = {0x20: "\u2423", 0: "\u2400", 10: "\u240a\n", 13: "\u240d", 9: "\u2409"}


@dataclass(frozen=True, slots=True)
class Change:
    """A value that the normalised view shows otherwise."""

    before: str
    after: str
    rule: str


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: an attribute, or the start of a sequence's item.

    Attributes
    ----------
    depth
        How many sequences it lies in.
    tag
        As ``(0010,0010)``; empty for an item.
    keyword
        Of the dictionary; for a private attribute, empty.
    creator
        Private creator, or empty.
    vr, value
        Value representation, and the values as received.
    changes
        What normalisation shows otherwise.
    item
        Number of the item that starts here, from 1; 0 for an attribute.
    """

    depth: int
    tag: str
    keyword: str = ""
    creator: str = ""
    vr: str = ""
    value: str = ""
    changes: tuple[Change, ...] = ()
    item: int = 0


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A change with the attribute that it is of."""

    name: str
    tag: str
    change: Change


@dataclass(frozen=True, slots=True)
class Table:
    """The rows, those of the File Meta Information apart; ``cut`` says that there are more."""

    meta: tuple[Row, ...]
    rows: tuple[Row, ...]
    changed: tuple[ChangedRow, ...]
    cut: bool


def table(metadata: Metadata) -> Table:
    """Return the table of an instance's attributes."""
    changes: dict[str, list[Change]] = {}
    changed = []
    for each in metadata.changes:
        path = str(each["path"])
        change = _change(each["before"], each["after"], str(each["rule"]))
        changes.setdefault(path, []).append(change)
        changed.append(ChangedRow(_name_of(path, metadata.header.attributes), _tag(path[-8:]), change))
    rows: list[Row] = []
    for row in _rows(metadata.header.attributes, "", 0, metadata.header.bulk, changes):
        if len(rows) == MOST_ROWS:
            return Table(_meta(metadata), tuple(rows), tuple(changed), cut=True)
        rows.append(row)
    return Table(_meta(metadata), tuple(rows), tuple(changed), cut=False)


def _meta(metadata: Metadata) -> tuple[Row, ...]:
    return tuple(_rows(metadata.header.meta, "", 0, {}, {}))


def _rows(
    attributes: Attributes, path: str, depth: int, bulk: Mapping[str, Bulk], changes: Mapping[str, list[Change]]
) -> Iterator[Row]:
    for tag, element in attributes.items():
        own = path + tag
        private = tag[3:4] in _ODD
        creator = private_creator(tag, attributes) if private else ""
        keyword = "" if private else keyword_of(int(tag, 16))
        if private and tag[4:6] == "00":
            keyword = "private creator"
        vr = str(element.get("vr", ""))
        values = element.get("Value")
        if vr == "SQ":
            items = values or []
            count = f"{len(items)} item" + ("" if len(items) == 1 else "s")
            yield Row(depth, _tag(tag), keyword, creator, vr, count)
            for number, item in enumerate(items):
                yield Row(depth + 1, "", item=number + 1)
                yield from _rows(item or {}, f"{own}.{number}.", depth + 2, bulk, changes)
            continue
        yield Row(depth, _tag(tag), keyword, creator, vr, _value(element, own, bulk), tuple(changes.get(own, ())))


def _value(element: Attributes, path: str, bulk: Mapping[str, Bulk]) -> str:
    if "BulkDataURI" in element:
        found = bulk.get(path) or bulk.get(str(element["BulkDataURI"]))
        return f"{quantities.size(found.length)}, kept with the instance" if found else "kept with the instance"
    if "InlineBinary" in element:
        return _binary(str(element["InlineBinary"]))
    values = element.get("Value") or []
    texts = [show(value) for value in values[:_MOST_VALUES]]
    rest = f" \\ … ({len(values)} values)" if len(values) > _MOST_VALUES else ""
    return _short(" \\ ".join(texts)) + rest


def _binary(text: str) -> str:
    try:
        data = base64.b64decode(text)
    except (binascii.Error, ValueError):
        return _short(text)
    more = "…" if len(data) > _SHOWN_BYTES else ""
    return f"{len(data)} bytes: {data[:_SHOWN_BYTES].hex(' ')}{more}"


def _change(before: Any, after: Any, rule: str) -> Change:
    """Return a change with the texts cut to where they differ, and blanks at their ends made visible."""
    old, new = _plain(before), _plain(after)
    same = next(
        (at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
    )
    start = same - _CONTEXT if max(len(old), len(new)) > LONGEST and same > _CONTEXT else 0
    shown_old, shown_new = ("…" * bool(start) + _short(_ends(text[start:])) for text in (old, new))
    return Change(shown_old, shown_new, rule)


def _ends(text: str) -> str:
    """Return a text with the blanks and zeros at its ends visible."""
    inner = text.strip(_BLANKS)
    if not inner:
        return text.translate(_VISIBLE)
    start = text.index(inner)
    return text[:start].translate(_VISIBLE) + inner + text[start + len(inner) :].translate(_VISIBLE)


def show(value: Any) -> str:
    """Return one value of the DICOM JSON model as text; of a person name its component groups, joined by ``=``."""
    return _short(_plain(value))


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        groups = [str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=")
    return str(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def _tag(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})"


def _name_of(path: str, attributes: Attributes) -> str:
    """Return a path for a person: keywords, and the numbers of items from 1; of a private attribute the creator."""
    if len(path) == 8 and path[3] in _ODD:
        return private_creator(path, attributes) or "private"
    names: list[str] = []
    for part in path.split("."):
        if len(part) == 8:
            names.append((keyword_of(int(part, 16)) if part[3] not in _ODD else "") or _tag(part))
        else:
            names[-1] += f"[{int(part) + 1}]"
    return " > ".join(names)
