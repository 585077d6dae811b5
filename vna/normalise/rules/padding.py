"""Padding and characters that may not be there (PS3.5 6.1.2, 6.2)."""

from __future__ import annotations

import re
from typing import Any

from vna.normalise.rules.rule import Rule

_BREAKS = re.compile(r"[\t-\r]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_LONG = frozenset({"LT", "ST", "UT"})


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        groups = {name: _short(part) for name, part in value.items()}
        return {name: part for name, part in groups.items() if part is not None} or None
    if not isinstance(value, str):
        return value
    # What follows a NUL is left over from an earlier use of the sender's buffer.
    text = value.partition("\0")[0]
    if not text.isprintable():
        text = _CONTROL.sub("", _BREAKS.sub(" ", text))
    return text.strip() or None


def _long(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _CONTROL_IN_TEXT.sub("", value.partition("\0")[0]).rstrip() or None


PADDING = Rule(
    "padding",
    frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI", "UR"}),
    _short,
)
"""Short texts: blanks at both ends and control characters are taken away, line breaks become a blank."""

PADDING_OF_TEXTS = Rule("padding of texts", _LONG, _long)
"""Long texts: blanks at the end, and control characters other than tab, line and page ends, are taken away."""
