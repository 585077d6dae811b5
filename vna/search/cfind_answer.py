"""The answers of a C-FIND: the keys that were asked for, of what was found (PS3.4 C.4.1.3.2)."""

from __future__ import annotations

from vna.dicom.dataset import Element, Identifier
from vna.domain.query import Hit
from vna.domain.records import Attributes
from vna.search.cfind import AVAILABILITY, LEVEL, RETRIEVE_AE_TITLE, Find, vr_of_key

_NO_KEYS: Identifier = {}


def answer(request: Find, hit: Hit, retrieve_ae_title: str) -> Attributes:
    """Return the identifier of one answer: the keys asked for, empty where nothing is known (PS3.4 C.4.1.3.2)."""
    out: Attributes = {
        LEVEL: {"vr": "CS", "Value": [hit.level.value]},
        RETRIEVE_AE_TITLE: {"vr": "AE", "Value": [retrieve_ae_title]},
    }
    for tag, element in request.keys.items():
        if tag == AVAILABILITY:
            out[tag] = {"vr": "CS", "Value": ["ONLINE"]}
        elif tag in request.private:
            creator = request.private[tag]
            out[f"{tag[:4]}00{tag[4:6]}"] = {"vr": "LO", "Value": [creator]}
            out[tag] = _pick(hit.attributes.get(_private_tag(hit.attributes, tag, creator)), tag, element)
        else:
            out[tag] = _pick(hit.attributes.get(tag), tag, element)
    return out


def _private_tag(attributes: Attributes, tag: str, creator: str) -> str:
    for block in range(0x10, 0x100):
        entry = attributes.get(f"{tag[:4]}00{block:02X}")
        if entry and entry.get("Value") and str(entry["Value"][0]).strip() == creator:
            return f"{tag[:4]}{block:02X}{tag[6:]}"
    return ""


def _pick(entry: Attributes | None, tag: str, element: Element) -> Attributes:
    """Return an attribute as it is answered; of a sequence's items only the attributes asked for."""
    if entry is None:
        return {"vr": vr_of_key(tag, element.vr)}
    asked = element.items[0] if element.items else _NO_KEYS
    if entry.get("vr") != "SQ" or not asked:
        return entry
    items = [
        {inner: _pick((item or {}).get(inner), inner, asked[inner]) for inner in asked}
        for item in entry.get("Value") or []
    ]
    return {"vr": "SQ", "Value": items}
