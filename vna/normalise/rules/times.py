"""Times (PS3.5 6.2, TM)."""

from __future__ import annotations

from typing import Any

from vna.normalise.canonical import partial_time
from vna.normalise.rules.rule import Rule


def _time(value: Any) -> Any:
    try:
        return partial_time(value)
    except (ValueError, TypeError):
        return None


TIMES = Rule("times", frozenset({"TM"}), _time)
"""``HHMMSS.ffffff`` in the precision given; what is no time of the day is not in the normalised view."""
