"""Lines that are written into a picture on request (PS3.18 8.3.5.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vna.domain.records import Attributes

_LONGEST = 80

# Tag, and what stands before its value; those of one line together.
_LINES: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "patient": ((("00100010", ""),), (("00100020", "ID "), ("00100030", "born "), ("00100040", ""))),
    "technique": (
        (("00080060", ""), ("00080020", ""), ("00200011", "series "), ("00200013", "image ")),
        (("0008103E", ""),),
        (("00180060", "kVp "), ("00181151", "mA "), ("00180080", "TR "), ("00180081", "TE "), ("00180087", "T ")),
        (("00180050", "thickness "), ("00201041", "location ")),
    ),
}


def lines(attributes: Attributes, annotation: Sequence[str]) -> tuple[str, ...]:
    """Return the lines, those left out that have nothing to say."""
    found = []
    for kind in annotation:
        for line in _LINES[kind]:
            parts = [before + text for tag, before in line if (text := _text(attributes, tag))]
            if parts:
                found.append("  ".join(parts)[:_LONGEST])
    return tuple(found)


def _text(attributes: Attributes, tag: str) -> str:
    value: Any = ((attributes.get(tag) or {}).get("Value") or [""])[0]
    if isinstance(value, dict):
        name = str(value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic") or "")
        value = " ".join(part for part in name.split("^") if part)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(character for character in text if character.isprintable()).strip()
