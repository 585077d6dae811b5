"""Date times (PS3.5 6.2, DT)."""

from __future__ import annotations

from typing import Any

from vna.normalise.canonical import partial_datetime
from vna.normalise.rules.rule import Rule


def _datetime(value: Any) -> Any:
    try:
        return partial_datetime(value)
    except (ValueError, TypeError):
        return None


DATETIMES = Rule("date times", frozenset({"DT"}), _datetime)
"""``YYYYMMDDHHMMSS.ffffff&ZZXX`` in the precision given; what is none is not in the normalised view."""
