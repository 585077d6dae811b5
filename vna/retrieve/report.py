"""Structured reports as text (PS3.18 8.7.4, PS3.3 C.17.3): the tree of content items, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from vna.domain.records import Attributes

HTML, PLAIN = "text/html", "text/plain"

_DEEPEST_INDENT = 40
_CONTENT, _VALUE_TYPE = "0040A730", "0040A040"
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "ul{padding-left:1.25rem}dt{float:left;clear:left;margin-right:.5rem}dt::after{content:':'}dd{margin:0}"
)
# Of the patient, the study and the document: tag, and how it is called.
_HEAD = {
    "00100010": "Patient",
    "00100020": "Patient ID",
    "00100030": "Born",
    "00100040": "Sex",
    "00080020": "Study date",
    "00080050": "Accession number",
    "00081030": "Study",
    "0040A491": "Completion",
    "0040A493": "Verification",
    "00080023": "Written",
}
# Content items whose value is one attribute (PS3.3 Table C.17.3-5).
_VALUES = {
    "TEXT": "0040A160",
    "DATE": "0040A121",
    "TIME": "0040A122",
    "DATETIME": "0040A120",
    "UIDREF": "0040A124",
    "PNAME": "0040A123",
}
_REFERENCES = frozenset({"IMAGE", "WAVEFORM", "COMPOSITE"})


@dataclass(frozen=True, slots=True)
class Line:
    """A content item: how deep it is in the tree, from 0, its concept, and its value."""

    depth: int
    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value}" if self.name and self.value else self.name or self.value


def is_report(attributes: Attributes) -> bool:
    """Say whether a data set has the SR Document Content Module."""
    return _CONTENT in attributes or _text(attributes, _VALUE_TYPE) == "CONTAINER"


class Report:
    """A structured report.

    Parameters
    ----------
    attributes
        Its data set in the DICOM JSON model.
    """

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self.title = _meaning(attributes, "0040A043") or "Report"

    @property
    def head(self) -> Iterator[tuple[str, str]]:
        """What it is of: names and values."""
        for tag, name in _HEAD.items():
            if text := _text(self._attributes, tag):
                yield name, text
        for item in _items(self._attributes, "0040A073"):
            yield "Verified by", " ".join(part for part in (_text(item, "0040A075"), _text(item, "0040A030")) if part)

    @property
    def lines(self) -> Iterator[Line]:
        """Its content items from top to bottom."""
        waiting = [(0, item) for item in reversed(_items(self._attributes, _CONTENT))]
        while waiting:
            depth, item = waiting.pop()
            yield Line(depth, _meaning(item, "0040A043"), _value(item))
            waiting += [(depth + 1, inner) for inner in reversed(_items(item, _CONTENT))]

    def plain(self) -> bytes:
        """Return it as plain text in UTF-8."""
        head = [f"{name}: {text}" for name, text in self.head]
        body = ["  " * min(line.depth, _DEEPEST_INDENT) + str(line) for line in self.lines]
        return "\n".join([self.title, "", *head, "", *body, ""]).encode("utf-8", "replace")

    def html(self) -> bytes:
        """Return it as a page of HTML in UTF-8, which needs nothing else and runs nothing."""
        head = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in self.head)
        title = escape(self.title)
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1><dl>{head}</dl>{self._list()}</body></html>\n"
        )
        return page.encode("utf-8", "replace")

    def _list(self) -> str:
        made: list[str] = []
        depth = -1
        for line in self.lines:
            made += ["<ul>"] * (line.depth - depth) if line.depth > depth else ["</li>", *_closed(depth - line.depth)]
            depth = line.depth
            name, value = escape(line.name), escape(line.value).replace("\n", "<br>")
            made.append(f"<li>{f'<b>{name}</b>' if name else ''}{': ' if name and value else ''}{value}")
        return "".join([*made, *(["</li>", *_closed(depth), "</ul>"] if depth >= 0 else [])])


def _closed(levels: int) -> list[str]:
    return ["</ul></li>"] * levels


def _value(item: Attributes) -> str:
    kind = _text(item, _VALUE_TYPE)
    if kind in _VALUES:
        return _text(item, _VALUES[kind])
    if kind == "CODE":
        return _meaning(item, "0040A168")
    if kind == "NUM":
        return _number(item)
    if kind in _REFERENCES:
        found = [_text(each, "00081155") for each in _items(item, "00081199")]
        return f"{kind.lower()} {', '.join(found)}"
    if kind in {"SCOORD", "SCOORD3D"}:
        return _text(item, "00700023").lower()
    if kind == "TCOORD":
        return _text(item, "0040A130").lower()
    if "0040DB73" in item:
        return "see " + ".".join(str(number) for number in item["0040DB73"].get("Value", ()))
    return ""


def _number(item: Attributes) -> str:
    for each in _items(item, "0040A300"):
        units = next((unit for unit in _items(each, "004008EA")), {})
        # UCUM writes no unit as 1.
        unit = _text(units, "00080100") if _text(units, "00080100") != "1" else ""
        return f"{_text(each, '0040A30A')} {unit}".strip()
    return _meaning(item, "0040A301")


def _items(attributes: Attributes, tag: str) -> list[Attributes]:
    values = (attributes.get(tag) or {}).get("Value") or []
    return [value for value in values if isinstance(value, dict)]


def _meaning(item: Attributes, tag: str) -> str:
    codes = _items(item, tag)
    return (_text(codes[0], "00080104") or _text(codes[0], "00080100")) if codes else ""


def _text(attributes: Attributes, tag: str) -> str:
    field = attributes.get(tag) or {}
    if "BulkDataURI" in field:
        return "(too long to be shown here)"
    value: Any = (field.get("Value") or [""])[0]
    if isinstance(value, dict):
        name = str(value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic") or "")
        return " ".join(part for part in name.split("^") if part)
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(letter for letter in text.replace("\r\n", "\n") if letter.isprintable() or letter in "\n\t").strip()
