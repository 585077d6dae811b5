"""Who is told of which work items (PS3.4 CC.2.3).

A subscription to one work item stands in its document. One to all of them, or
to those that match a filter, would have to be written into each: instead a
subscriber's document has the list of what it asked for, and whoever writes a
work item next carries it over. Until then nothing has happened that anybody
would have been told, so nobody can see the difference. What was asked before
and after is told by the numbers of the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import orjson

from vna.domain.errors import IntegrityError
from vna.domain.identity import identity
from vna.domain.query import Criterion
from vna.workitems.matching import criteria_from_json, criteria_to_json
from vna.workitems.record import WorkItem

_MOST_ACTIONS = 64


@dataclass(frozen=True, slots=True)
class GlobalAction:
    """Something that a subscriber asked for all work items.

    Attributes
    ----------
    clock
        Number of the change in the feed.
    do
        What.
    lock
        Whether a subscription has a deletion lock.
    criteria
        The filter of a subscription, ``None`` for none.
    """

    clock: int
    do: Literal["subscribe", "unsubscribe", "suspend"]
    lock: bool = False
    criteria: tuple[Criterion, ...] | None = None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One revision of what an application entity asked for all work items, the oldest first."""

    ae_title: str
    revision: int = 0
    clock: int = 0
    actions: tuple[GlobalAction, ...] = ()
    when: str = ""
    who: str = ""

    @property
    def active(self) -> GlobalAction | None:
        """Its subscription to work items that come, ``None`` if it has none."""
        return self.actions[-1] if self.actions and self.actions[-1].do == "subscribe" else None

    def after(self, action: GlobalAction) -> tuple[GlobalAction, ...]:
        """Return its actions with one more, without those that make no difference any more."""
        if action.do == "unsubscribe":
            return (action,)
        actions = [*self.actions, action]
        # Of the same subscription again and again the first and the last count.
        if len(actions) > 2 and all(_same(each, action) for each in actions[-3:-1]):
            del actions[-2]
        return tuple(actions[-_MOST_ACTIONS:])


def _same(one: GlobalAction, other: GlobalAction) -> bool:
    return replace(one, clock=0) == replace(other, clock=0)


def subscriber_id(ae_title: str) -> str:
    """Return the identity of a subscriber, 32 hex digits."""
    return identity("subscriber", ae_title)


def to_json(subscriber: Subscriber) -> bytes:
    """Return the document of a subscriber."""
    document = asdict(subscriber)
    for shown, action in zip(document["actions"], subscriber.actions, strict=True):
        shown["criteria"] = None if action.criteria is None else criteria_to_json(action.criteria)
    return orjson.dumps({"kind": "worklist-subscriber", **document})


def from_json(data: bytes) -> Subscriber:
    """Read the document of a subscriber; raises ``IntegrityError``."""
    try:
        found: dict[str, Any] = orjson.loads(data)
        del found["kind"]
        actions = tuple(
            GlobalAction(**(each | {"criteria": each["criteria"] and criteria_from_json(each["criteria"])}))
            for each in found.pop("actions")
        )
        return Subscriber(**found, actions=actions)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"the document of a subscriber cannot be read: {error}") from error


def effective(
    item: WorkItem, subscribers: Iterable[Subscriber], matches: Callable[[Sequence[Criterion]], bool]
) -> dict[str, bool | None]:
    """Return who is subscribed to a work item, with what was asked for all since it was written last (CC.2.3.1).

    Parameters
    ----------
    item
        The work item; one of revision 0 is about to be created.
    subscribers
        Those who asked for all work items.
    matches
        Says whether the work item meets a filter.

    Returns
    -------
    dict
        As :attr:`vna.workitems.record.WorkItem.subscribers`.
    """
    states = dict(item.subscribers)
    for each in subscribers:
        if not item.revision:
            if (active := each.active) is not None and _covers(active, matches):
                states[each.ae_title] = active.lock
            continue
        for action in each.actions:
            if action.clock <= item.seen:
                continue
            if action.do == "unsubscribe":
                states.pop(each.ae_title, None)
            elif action.do == "subscribe" and states.get(each.ae_title) is None and _covers(action, matches):
                states[each.ae_title] = action.lock
    return states


def newly_matched(
    states: dict[str, bool | None], subscribers: Iterable[Subscriber], matches: Callable[[Sequence[Criterion]], bool]
) -> dict[str, bool | None]:
    """Return states with those added whose filter a work item meets only now; not those who unsubscribed from it."""
    added = {
        each.ae_title: active.lock
        for each in subscribers
        if (active := each.active) is not None
        and active.criteria is not None
        and each.ae_title not in states
        and _covers(active, matches)
    }
    return states | added


def _covers(action: GlobalAction, matches: Callable[[Sequence[Criterion]], bool]) -> bool:
    return action.criteria is None or matches(action.criteria)


def told(states: Mapping[str, bool | None]) -> tuple[str, ...]:
    """Return the AE titles of those who are subscribed."""
    return tuple(ae_title for ae_title, lock in states.items() if lock is not None)
