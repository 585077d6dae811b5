"""A work item as the object store keeps it: one document a revision, each with all there is of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from vna.domain.errors import IntegrityError
from vna.domain.identity import identity
from vna.domain.records import Attributes
from vna.workitems import tags


@dataclass(frozen=True, slots=True)
class Event:
    """Something that subscribers of a work item are told (PS3.4 Table CC.2.4-1).

    Attributes
    ----------
    type
        Event Type ID: 1 state report, 2 cancel requested, 3 progress report, 5 assigned.
    to
        AE titles of the subscribers.
    info
        The attributes of the event.
    """

    type: int
    to: tuple[str, ...]
    info: Attributes


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One revision of a work item.

    Attributes
    ----------
    uid
        SOP Instance UID.
    revision
        From 1, without a gap.
    clock
        Number of the change in the feed (:mod:`vna.workitems.feed`): of two changes the later has the greater.
    seen
        Number up to which what was asked for all work items is carried over into ``subscribers``.
    action
        What made this revision: ``create``, ``update``, ``state``, ``cancel-request``, ``subscribe``,
        ``unsubscribe``, ``remove``.
    when, who
        When (ISO 8601, UTC), and by whom.
    attributes
        In the DICOM JSON model, without the Transaction UID.
    transaction
        The Transaction UID by which its performer holds it, empty before.
    subscribers
        Whether each subscriber has a deletion lock, by AE title; ``None`` for one that unsubscribed.
    events
        What this revision tells whom.
    removed
        Whether its time was over, and nothing but this note is left.
    """

    uid: str
    revision: int = 0
    clock: int = 0
    seen: int = 0
    action: str = "create"
    when: str = ""
    who: str = ""
    attributes: Attributes = field(default_factory=dict)
    transaction: str = ""
    subscribers: Mapping[str, bool | None] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    removed: bool = False

    @property
    def state(self) -> str:
        """Procedure Step State (0074,1000)."""
        return tags.text(self.attributes, tags.STATE)

    @property
    def is_final(self) -> bool:
        """Whether nothing about it can change any more."""
        return self.state in {"COMPLETED", "CANCELED"}

    def state_report(self, to: tuple[str, ...]) -> Event:
        """Return the event that tells its state."""
        shown = {tag: self.attributes[tag] for tag in (tags.STATE, tags.READINESS) if tag in self.attributes}
        progress = (tags.items(self.attributes, tags.PROGRESS) or [{}])[0]
        if self.state == "CANCELED":
            shown |= {tag: progress[tag] for tag in (tags.CANCEL_REASON, tags.CANCEL_CODES) if tag in progress}
        return Event(1, to, shown)


def item_id(uid: str) -> str:
    """Return the identity of a work item, 32 hex digits: a UID is never part of a key."""
    return identity("workitem", uid)


def to_json(item: WorkItem) -> bytes:
    """Return the document of a revision."""
    return orjson.dumps({"kind": "workitem", **asdict(item), "subscribers": dict(item.subscribers)})


def from_json(data: bytes) -> WorkItem:
    """Read the document of a revision; raises ``IntegrityError``."""
    try:
        found: dict[str, Any] = orjson.loads(data)
        del found["kind"]
        events = tuple(Event(each["type"], tuple(each["to"]), each["info"]) for each in found.pop("events"))
        return WorkItem(**found, events=events)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"the document of a work item cannot be read: {error}") from error
