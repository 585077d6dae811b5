"""Code strings (PS3.5 6.2, CS)."""

from __future__ import annotations

from typing import Any

from vna.normalise.rules.rule import Rule


def _code(value: Any) -> Any:
    return (" ".join(value.upper().split()) or None) if isinstance(value, str) else value


CODES = Rule("codes", frozenset({"CS"}), _code)
"""Upper case, no blanks around."""
