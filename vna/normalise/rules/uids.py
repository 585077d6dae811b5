"""Unique identifiers (PS3.5 9.1)."""

from __future__ import annotations

import re
from typing import Any

from vna.normalise.rules.rule import Rule

_BLANKS = re.compile(r"\s+")


def _uid(value: Any) -> Any:
    # Digits are never touched: a UID with a leading zero is illegal, yet it names what its sender means.
    return (_BLANKS.sub("", value) or None) if isinstance(value, str) else value


UIDS = Rule("uids", frozenset({"UI"}), _uid)
"""Blanks within a UID are taken away; all else stays, legal or not."""
