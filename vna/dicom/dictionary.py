"""Value representations: what they are (PS3.5 6.2) and which one an attribute has (PS3.6, private dictionaries)."""

from __future__ import annotations

from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary
from pydicom._private_dict import private_dictionaries
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

SHORT_VRS = {
    name.encode(): name
    for name in (
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO"),
        *("LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
    )
}
"""Value representations whose explicit length has 16 bits (PS3.5 7.1.2), by their two bytes."""

LONG_VRS = {
    name.encode(): name for name in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}
"""Value representations whose explicit length has 32 bits after two reserved bytes (PS3.5 7.1.2)."""

KNOWN_VRS = SHORT_VRS | LONG_VRS
BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
"""Pixel Data, Float Pixel Data, Double Float Pixel Data: bulk at any length."""

_PUBLIC = {tag: entry[0] for tag, entry in DicomDictionary.items() if entry[0] in KNOWN_VRS.values()}


@lru_cache(maxsize=65536)
def hex_tag(tag: int) -> str:
    """Return a tag as the eight upper-case hex digits of the DICOM JSON model (PS3.18 F.2.2)."""
    return f"{tag:08X}"


def show_tag(tag: int) -> str:
    """Return a tag for a person, with its name where it has one: ``PatientID (0010,0020)``."""
    plain = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    name = keyword_for_tag(tag) if not tag >> 16 & 1 else ""
    return f"{name} {plain}" if name else plain


@lru_cache(maxsize=4096)
def _rare_vr(tag: int) -> str:
    """Return the dictionary's entry for what :data:`_PUBLIC` does not hold: repeating groups, choices, unknown."""
    if tag & 0xFFFF == 0:
        return "UL"  # group length, PS3.5 7.2
    if not dictionary_has_tag(tag) and not (0x5000 <= tag >> 16 <= 0x60FF or tag >> 16 in {0x0020, 0x0028}):
        return "UN"
    try:
        found = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return "UN" if found == "NONE" else found


def public_vr(tag: int, pixel_representation: int | None = None, lut_entries: int | None = None) -> str:
    """Return the value representation of a standard attribute, ``UN`` if it is not known.

    Parameters
    ----------
    tag
        The attribute.
    pixel_representation
        Pixel Representation (0028,0103) in force, which chooses between US and SS.
    lut_entries
        First value of LUT Descriptor (0028,3002) in force: LUT Data with one
        entry is US, else OW (PS3.3 C.11.1.1.1).
    """
    found = _PUBLIC.get(tag)
    if found is None:
        found = _rare_vr(tag)
        if " " in found:
            return _choose(tag, found, pixel_representation, lut_entries)
    return found


def _choose(tag: int, choice: str, pixel_representation: int | None, lut_entries: int | None) -> str:
    if choice == "US or SS":
        # The descriptor's second value is always unsigned, the first and third count entries and bits.
        return "SS" if pixel_representation == 1 and tag & 0xFFFF != 0x3002 else "US"
    if choice.startswith("US") and lut_entries == 1:
        return "US"
    return "OW"


@lru_cache(maxsize=16384)
def private_vr(tag: int, creator: str) -> str:
    """Return the value representation of a private attribute, ``UN`` if its creator's dictionary has none."""
    entries = private_dictionaries.get(creator)
    if entries is None:
        return "UN"
    text = f"{tag:08x}"
    entry = (
        entries.get(f"{text[:4]}xx{text[6:]}") or entries.get(text) or entries.get(f"{text[:4]}xx{text[6:].upper()}")
    )
    if entry is None or entry[0].encode() not in KNOWN_VRS:
        return "UN"
    return entry[0]
