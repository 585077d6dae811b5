"""The same question to two archives: ask, bring both answers into one shape, and list where they differ."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

ROOTS = {"patient": "1.2.840.10008.5.1.4.1.2.1.1", "study": "1.2.840.10008.5.1.4.1.2.2.1"}
UNIQUE = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_IN_A_QUERY = "*^=?,:/@%"
_NUMBERS = {"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"}

Keys = Mapping[str, Any]
"""Keywords and values of a query; the value of a sequence is the keys of its one item."""
Entities = dict[str, dict[str, str]]
"""What was found: by unique key the values asked for, by keyword."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where an archive answers."""

    dimse_port: int
    called: str
    web: str


@dataclass(frozen=True, slots=True)
class Find:
    """A C-FIND request. ``relational`` negotiates relational queries (PS3.4 C.5.1.1)."""

    name: str
    level: str
    keys: Keys
    root: str = "study"
    relational: bool = False

    def ask(self, server: Server) -> Answer:
        """Ask a server."""
        with warnings.catch_warnings():
            # Of UIDs and dates that are none, which both answer as they received them.
            warnings.simplefilter("ignore")
            return self._ask(server)

    def _ask(self, server: Server) -> Answer:
        entity = AE(ae_title="DIFFERENTIAL")
        entity.add_requested_context(ROOTS[self.root])
        offered: list[Any] = []
        if self.relational:
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid = ROOTS[self.root]
            item.service_class_application_information = b"\x01"
            offered = [item]
        association = entity.associate("127.0.0.1", server.dimse_port, ae_title=server.called, ext_neg=offered)
        assert association.is_established, f"{server.called} refuses the association"
        answer = Answer("")
        statuses: dict[str, None] = {}  # FF00 aside, which comes with every result
        try:
            for status, found in association.send_c_find(_identifier(self.keys, self.level), ROOTS[self.root]):
                code = f"{status.Status:04X}" if "Status" in status else "none"
                if code != "FF00":
                    statuses[code] = None
                if found is not None:
                    answer.add(_unique(found, self.level), _values(found, self.keys))
        finally:
            association.release()
        answer.status = " ".join(statuses)
        return answer


@dataclass(frozen=True, slots=True)
class Qido:
    """A QIDO-RS request: path, parameters, and what is compared beyond the unique key."""

    name: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    compare: tuple[str, ...] = ()
    page: int = 0
    """Above 0, the whole is asked for in pages of so many."""

    def ask(self, server: Server) -> Answer:
        """Ask a server."""
        answer = Answer("")
        offset = 0
        while True:
            parameters = list(self.parameters)
            if self.page:
                parameters += [("limit", str(self.page)), ("offset", str(offset))]
            status, found = _get(f"{server.web}/{self.path}", parameters)
            if not (self.page and offset and not found):
                answer.status = str(status)
            for each in found:
                answer.add(self._unique(each), {name: _json_text(each, name) for name in self.compare})
            if not self.page or not found:
                return answer
            offset += self.page

    def _unique(self, found: dict[str, Any]) -> str:
        leaf = self.path.rpartition("/")[2]
        name = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}[leaf]
        return _json_text(found, name)


@dataclass(slots=True)
class Answer:
    """What a server answered: its last status, and what it found."""

    status: str
    entities: Entities = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)

    def add(self, unique: str, values: dict[str, str]) -> None:
        """Take in one result."""
        if unique in self.entities:
            self.twice.add(unique)
        self.entities.setdefault(unique, values)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers to one query differ.

    ``kind`` is ``status`` (of C-FIND all there were), ``only ours``, ``only theirs``, ``twice`` (theirs
    has several of a unique key) or the keyword of an attribute whose values differ.
    """

    query: str
    kind: str
    entity: str
    ours: str = ""
    theirs: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of an entity that one of them alone finds."""


def compare(name: str, ours: Answer, theirs: Answer) -> list[Difference]:
    """Return every difference between two answers to the query of a name."""
    found = []
    if ours.status != theirs.status:
        found.append(Difference(name, "status", "", ours.status, theirs.status))
    for unique in sorted(ours.entities.keys() | theirs.entities.keys()):
        one, other = ours.entities.get(unique), theirs.entities.get(unique)
        if one is None or other is None:
            kind = "only ours" if one is not None else "only theirs"
            found.append(Difference(name, kind, unique, values=one or other or {}))
            continue
        found += [
            Difference(name, keyword, unique, one[keyword], other[keyword])
            for keyword in one
            if one[keyword] != other[keyword]
        ]
    found += [Difference(name, "twice", unique) for unique in sorted(theirs.twice - ours.twice)]
    found += [Difference(name, "twice by us", unique) for unique in sorted(ours.twice - theirs.twice)]
    return found


def _get(url: str, parameters: list[tuple[str, str]]) -> tuple[int, list[dict[str, Any]]]:
    # No more is escaped than must be (RFC 3986 3.4), by hand: clients escape "*" and "^" too.
    query = "&".join(f"{name}={quote(value, safe=_IN_A_QUERY)}" for name, value in parameters)
    request = Request(f"{url}?{query}" if query else url, headers={"Accept": "application/dicom+json"})
    try:
        with urlopen(request, timeout=120) as got:
            data = got.read()
            return got.status, json.loads(data) if data else []
    except HTTPError as error:
        with error:
            return error.code, []


def _identifier(keys: Keys, level: str = "") -> Dataset:
    ds = Dataset()
    if level:
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        if isinstance(value, Mapping):
            setattr(ds, keyword, Sequence([_identifier(value)]))
        else:
            setattr(ds, keyword, value)
    return ds


def _unique(found: Dataset, level: str) -> str:
    return str(found.get(UNIQUE[level], "")).strip()


def _values(found: Dataset, keys: Keys) -> dict[str, str]:
    return {keyword: _text(found.get(tag_for_keyword(keyword)), keys[keyword]) for keyword in keys}


def _text(element: DataElement | None, asked: Any = None) -> str:
    if element is None or element.value is None:
        return ""
    if element.VR == "SQ":
        keys = asked if isinstance(asked, Mapping) else None
        return "".join(_item(item, keys) for item in element.value)
    values = [element.value] if isinstance(element.value, str) or element.VM <= 1 else element.value
    return "\\".join(_plain(element.VR, value) for value in values)


def _item(item: Dataset, keys: Keys | None) -> str:
    wanted = keys or {keyword_for_tag(element.tag): None for element in item}
    texts = {keyword: _text(item.get(tag_for_keyword(keyword)), wanted[keyword]) for keyword in wanted}
    return "{" + ", ".join(f"{keyword}: {text}" for keyword, text in sorted(texts.items()) if text) + "}"


def _plain(vr: str, value: Any) -> str:
    text = str(value).strip(" \0")
    if vr == "PN":
        return "=".join(group.rstrip("^ ") for group in text.split("=")).rstrip("=")
    if vr in _NUMBERS and text:
        try:
            return f"{float(text):g}"
        except ValueError:
            return text
    return text


def _json_text(found: dict[str, Any], keyword: str) -> str:
    tag = f"{tag_for_keyword(keyword):08X}"
    entry = found.get(tag) or {}
    return _json_entry(entry)


def _json_entry(entry: dict[str, Any]) -> str:
    values = entry.get("Value") or []
    if entry.get("vr") == "SQ":
        return "".join(
            "{" + ", ".join(f"{keyword_for_tag(tag)}: {text}" for tag, text in sorted(_filled(item))) + "}"
            for item in values
        )
    return "\\".join(_plain(str(entry.get("vr")), _flat(value)) for value in values)


def _filled(item: dict[str, Any] | None) -> list[tuple[str, str]]:
    return [(tag, text) for tag, entry in (item or {}).items() if (text := _json_entry(entry))]


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        return "=".join(str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic"))
    return "" if value is None else value
