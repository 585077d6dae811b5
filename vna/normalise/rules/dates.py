"""Dates (PS3.5 6.2, DA)."""

from __future__ import annotations

from typing import Any

from vna.normalise.canonical import date
from vna.normalise.rules.rule import Rule


def _date(value: Any) -> Any:
    try:
        return date(value)
    except (ValueError, TypeError):
        return None


DATES = Rule("dates", frozenset({"DA"}), _date)
"""``YYYYMMDD``; what is no date of the calendar is not in the normalised view."""
