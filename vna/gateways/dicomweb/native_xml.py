"""The Native DICOM Model (PS3.19 A.1), from a data set in the DICOM JSON model (PS3.18 F.2)."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from vna.dicom.dictionary import keyword_of
from vna.domain.records import Attributes

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# XML 1.0 2.2: these cannot stand in a document at all, not even escaped.
_FORBIDDEN = dict.fromkeys([*range(9), 0xB, 0xC, *range(0xE, 0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)], "\ufffd")


def to_native_xml(attributes: Attributes) -> bytes:
    """Return an XML document of a data set."""
    root = ET.Element("NativeDicomModel", {"xmlns": _NAMESPACE, "xml:space": "preserve"})
    _data_set(root, attributes)
    # XML 1.0 2.11: a carriage return that is not escaped is read as a line feed.
    text: str = ET.tostring(root, encoding="unicode").replace("\r", "&#13;")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _data_set(parent: ET.Element, attributes: Attributes) -> None:
    for tag in sorted(attributes):
        field = attributes[tag]
        names = {"tag": tag, "vr": str(field["vr"])}
        if keyword := keyword_of(int(tag, 16)):
            names["keyword"] = keyword
        if creator := _creator(attributes, tag):
            # PS3.19 A.1.5: a private attribute is told by its creator, with its block left out of the tag.
            names |= {"privateCreator": creator, "tag": f"{tag[:4]}00{tag[6:]}"}
        _values(ET.SubElement(parent, "DicomAttribute", names), field)


def _creator(attributes: Attributes, tag: str) -> str:
    if int(tag[3], 16) % 2 == 0 or tag[4:6] == "00":
        return ""
    block = attributes.get(f"{tag[:4]}00{tag[4:6]}", {})
    values = block.get("Value") or [""]
    return str(values[0] or "")


def _values(parent: ET.Element, field: dict[str, Any]) -> None:
    if "BulkDataURI" in field:
        ET.SubElement(parent, "BulkData", {"uri": str(field["BulkDataURI"])})
    elif "InlineBinary" in field:
        ET.SubElement(parent, "InlineBinary").text = str(field["InlineBinary"])
    for number, value in enumerate(field.get("Value", ()), 1):
        place = {"number": str(number)}
        if field["vr"] == "SQ":
            _data_set(ET.SubElement(parent, "Item", place), value or {})
        elif field["vr"] == "PN":
            _name(ET.SubElement(parent, "PersonName", place), value or {})
        elif value is not None:
            ET.SubElement(parent, "Value", place).text = _text(value)


def _name(parent: ET.Element, groups: dict[str, str]) -> None:
    for group in ("Alphabetic", "Ideographic", "Phonetic"):
        if not (text := groups.get(group)):
            continue
        inner = ET.SubElement(parent, group)
        for label, part in zip(_NAME_PARTS, text.split("^"), strict=False):
            if part:
                ET.SubElement(inner, label).text = _text(part)


def _text(value: Any) -> str:
    return str(value).translate(_FORBIDDEN)
