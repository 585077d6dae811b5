"""Value representations: what they are (PS3.5 6.2) and which one an attribute has (PS3.6, private dictionaries)."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType


def _table(name: str) -> ModuleType:
    """Return a dictionary of pydicom, its module alone.

    ``import pydicom`` brings numpy, its decoders and an HTTP client: 40 MiB and half a second in each process, of
    which most never decode.
    """
    full = f"pydicom.{name}"
    if full in sys.modules:
        return sys.modules[full]
    package = importlib.util.find_spec("pydicom")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0], f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"{__name__}.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_standard = _table("_dicom_dict")
# Tag: VR, VM, name, "Retired" or nothing, keyword.
_TAGS: dict[int, tuple[str, str, str, str, str]] = _standard.DicomDictionary
# UID: name, kind, and more.
_UIDS: dict[str, tuple[str, str, str, str, str]] = _table("_uid_dict").UID_dictionary
_PRIVATE: dict[str, dict[str, tuple[str, str, str, str]]] = _table("_private_dict").private_dictionaries

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

_PUBLIC = {tag: entry[0] for tag, entry in _TAGS.items() if entry[0] in KNOWN_VRS.values()}
_MASKS = [
    (int(mask.replace("x", "0"), 16), int("".join("0" if digit == "x" else "F" for digit in mask), 16), entry)
    for mask, entry in _standard.RepeatersDictionary.items()
]
_BY_KEYWORD = {entry[4]: tag for tag, entry in _TAGS.items() if entry[4]}


def _repeater(tag: int) -> tuple[str, str, str, str, str] | None:
    """Return the entry of a repeating group (PS3.5 7.6)."""
    if tag >> 16 & 1:
        return None
    return next((entry for fixed, bits, entry in _MASKS if tag & bits == fixed), None)


def keyword_of(tag: int) -> str:
    """Return the keyword of a standard attribute, empty if it has none."""
    entry = _TAGS.get(tag) or _repeater(tag)
    return entry[4] if entry else ""


def tag_of(keyword: str) -> int | None:
    """Return the standard attribute that has a keyword."""
    return _BY_KEYWORD.get(keyword)


def is_other_than_storage(uid: str) -> bool:
    """Say whether a UID is of the standard (PS3.6 A), and of no SOP class that instances of a patient have."""
    name, kind, *_ = _UIDS.get(uid, ("Storage", "SOP Class"))
    return kind != "SOP Class" or "Storage" not in name or name.startswith(("Storage Commitment", "Media Storage"))


@lru_cache(maxsize=65536)
def hex_tag(tag: int) -> str:
    """Return a tag as the eight upper-case hex digits of the DICOM JSON model (PS3.18 F.2.2)."""
    return f"{tag:08X}"


def uid_name(uid: str) -> str:
    """Return the name of a UID that the standard registers (PS3.6 A), empty for any other."""
    return _UIDS[uid][0] if uid in _UIDS else ""


def show_tag(tag: int) -> str:
    """Return a tag for a person, with its name where it has one: ``PatientID (0010,0020)``."""
    plain = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    name = keyword_of(tag) if not tag >> 16 & 1 else ""
    return f"{name} {plain}" if name else plain


@lru_cache(maxsize=4096)
def _rare_vr(tag: int) -> str:
    """Return the dictionary's entry for what :data:`_PUBLIC` does not hold: repeating groups, choices, unknown."""
    if tag & 0xFFFF == 0:
        return "UL"  # group length, PS3.5 7.2
    entry = _TAGS.get(tag) or _repeater(tag)
    return "UN" if entry is None or entry[0] == "NONE" else entry[0]


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
    entries = _PRIVATE.get(creator)
    if entries is None:
        return "UN"
    text = f"{tag:08x}"
    entry = (
        entries.get(f"{text[:4]}xx{text[6:]}") or entries.get(text) or entries.get(f"{text[:4]}xx{text[6:].upper()}")
    )
    if entry is None or entry[0].encode() not in KNOWN_VRS:
        return "UN"
    return entry[0]
