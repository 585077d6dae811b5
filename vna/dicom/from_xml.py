"""Reading a data set in the Native DICOM Model (PS3.19 A.1) into the DICOM JSON model (PS3.18 F.2)."""

from __future__ import annotations

import re
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

from vna.dicom.dictionary import public_vr
from vna.dicom.elements import MAX_DEPTH
from vna.domain.errors import UnparsableError
from vna.domain.records import Attributes

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_WHOLE = frozenset({"IS", "US", "SS", "UL", "SL", "UV", "SV"})
_REAL = frozenset({"DS", "FL", "FD"})
_MOST_VALUES = 1_000_000


class _Builder(ET.TreeBuilder):
    """Refuses a document type, with which entities would be declared that grow or read files."""

    def doctype(self, _name: str, _pubid: str | None, _system: str | None) -> NoReturn:
        raise UnparsableError("the metadata has a document type, which the Native DICOM Model has not")


def parse_xml(data: bytes) -> list[Attributes]:
    """Return the data sets of a document: the root, or those within a root of another name.

    Raises
    ------
    UnparsableError
        It is no XML, or none of the Native DICOM Model.
    """
    parser = ET.XMLParser(target=_Builder())  # noqa: S314 - the builder refuses a document type
    try:
        parser.feed(data)
        root = parser.close()
    except ET.ParseError as error:
        raise UnparsableError(f"the metadata is no XML: {error}") from error
    models = [each for each in (root, *root) if _kind(each) == "NativeDicomModel"]
    if not models:
        raise UnparsableError(f"the metadata's root is {_kind(root)[:64]}, not NativeDicomModel")
    return [_data_set(model, 0) for model in models]


def _kind(element: ET.Element) -> str:
    """Return the name of an element without its namespace, which some writers leave out."""
    return element.tag.rpartition("}")[2]


def _data_set(parent: ET.Element, depth: int) -> Attributes:
    if depth > MAX_DEPTH:
        raise UnparsableError(f"sequences within sequences, more than {MAX_DEPTH} deep")
    result: Attributes = {}
    private: list[tuple[str, str, dict[str, Any]]] = []
    for element in parent:
        if _kind(element) != "DicomAttribute":
            continue
        tag = element.get("tag", "").upper()
        if not _TAG.fullmatch(tag):
            raise UnparsableError(f"{tag[:64]!r} is no tag of eight hex digits")
        field = _field(element, tag, depth)
        creator = element.get("privateCreator", "")
        if creator and tag[4:6] == "00":
            private.append((tag, creator, field))
        else:
            _put(result, tag, field)
    for tag, creator, field in private:
        _put(result, f"{tag[:4]}{_block(result, tag, creator)}{tag[6:]}", field)
    return result


def _put(result: Attributes, tag: str, field: dict[str, Any]) -> None:
    if tag in result:
        raise UnparsableError(f"{tag} stands twice")
    result[tag] = field


def _block(result: Attributes, tag: str, creator: str) -> str:
    """Return the block of a private creator (PS3.5 7.8.1) for an attribute, reserving one if there is none."""
    group = tag[:4]
    free = ""
    for number in range(0x10, 0x100):
        block = f"{number:02X}"
        reserved = result.get(f"{group}00{block}")
        if reserved is None:
            free = free or block
            continue
        # A creator may have several blocks, and the model does not say of which of them an attribute is.
        named = str((reserved.get("Value") or [""])[0]).strip() == creator.strip()
        if named and f"{group}{block}{tag[6:]}" not in result:
            return block
    if free:
        result[f"{group}00{free}"] = {"vr": "LO", "Value": [creator]}
        return free
    raise UnparsableError(f"group {group} has no block left for private creator {creator[:64]!r}")


def _field(element: ET.Element, tag: str, depth: int) -> dict[str, Any]:
    vr = element.get("vr") or public_vr(int(tag, 16))
    field: dict[str, Any] = {"vr": vr}
    values: dict[int, Any] = {}
    for child in element:
        kind = _kind(child)
        if kind == "BulkData":
            field["BulkDataURI"] = child.get("uri") or child.get("uuid") or ""
        elif kind == "InlineBinary":
            field["InlineBinary"] = "".join((child.text or "").split())
        elif kind in {"Value", "PersonName", "Item"}:
            number = _number(child, len(values) + 1)
            if number in values:
                raise UnparsableError(f"{tag} has two values number {number}")
            values[number] = _data_set(child, depth + 1) if kind == "Item" else _value(child, kind, vr)
    if values:
        most = max(values)
        if most > _MOST_VALUES:
            raise UnparsableError(f"{tag} has a value number {most}")
        field["Value"] = [values.get(number) for number in range(1, most + 1)]
    return field


def _number(element: ET.Element, default: int) -> int:
    try:
        number = int(element.get("number", default))
    except ValueError:
        number = 0
    if number < 1:
        raise UnparsableError("a value's number is none from 1")
    return number


def _value(element: ET.Element, kind: str, vr: str) -> Any:
    if kind == "PersonName":
        return {_kind(group): name for group in element if _kind(group) in _GROUPS and (name := _name(group))}
    text = element.text or ""
    try:
        if vr in _WHOLE:
            return int(text)
        if vr in _REAL and text.strip("+-").upper() not in {"NAN", "INF", "INFINITY"}:
            return float(text)
    except ValueError:
        pass
    return text


def _name(group: ET.Element) -> str:
    parts = {_kind(part): part.text or "" for part in group}
    return "^".join(parts.get(name, "") for name in _NAME_PARTS).rstrip("^")
