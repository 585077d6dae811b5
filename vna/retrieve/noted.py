"""Which instances a request has come to: noted where they are found, for the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from vna.domain.records import Location

_noted: ContextVar[list[tuple[str, str]] | None] = ContextVar("noted", default=None)


def begin() -> list[tuple[str, str]]:
    """Return the list that is filled, from here on in this context, with Study Instance UID and SOP Class UID each."""
    found: list[tuple[str, str]] = []
    _noted.set(found)
    return found


def note(locations: Sequence[Location]) -> None:
    """Note instances that a request has come to."""
    found = _noted.get()
    if found is not None:
        found.extend((location.uids.study, location.sop_class) for location in locations)
