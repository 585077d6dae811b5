"""Person names (PS3.5 6.2.1)."""

from __future__ import annotations

from typing import Any

from vna.normalise.rules.rule import Rule

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = 5


def _group(text: str) -> str:
    # Taking carets away may lay a comma bare, hence until nothing changes.
    while (new := _repair(text)) != text:
        text = new
    return text


def _repair(text: str) -> str:
    parts = [" ".join(part.split()) for part in text.split("^")]
    if len(parts) == 1 and text.count(",") == 1:
        # "Doe, Jane", as people write it: family name first, then the given ones.
        parts = [" ".join(part.split()) for part in text.split(",")]
        if not all(parts):
            parts = [part for part in parts if part]
    if len(parts) > _COMPONENTS:
        parts[_COMPONENTS - 1 :] = [" ".join(part for part in parts[_COMPONENTS - 1 :] if part)]
    return "^".join(parts).rstrip("^")


def _name(value: Any) -> Any:
    if isinstance(value, str):
        value = dict(zip(_GROUPS, value.split("=", 2), strict=False))
    if not isinstance(value, dict):
        return value
    if any(isinstance(part, str) and "=" in part for part in value.values()):
        joined = "=".join(str(value.get(name) or "") for name in _GROUPS)
        value = dict(zip(_GROUPS, joined.split("=")[:3], strict=False))
    groups = {name: _group(part) if isinstance(part, str) else part for name, part in value.items()}
    return {name: part for name, part in groups.items() if part != ""} or None


NAMES = Rule("names", frozenset({"PN"}), _name)
"""Component groups apart, blanks around components and carets at the end gone, ``Doe, Jane`` as ``Doe^Jane``."""
