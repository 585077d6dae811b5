"""The worklist: what can be done with work items (PS3.4 CC.2, PS3.18 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from vna.domain.errors import NotFoundError
from vna.domain.query import Criterion
from vna.domain.records import Attributes
from vna.ports.objects import ObjectStore
from vna.workitems import record, states, subscribers, tags, writing
from vna.workitems.chain import ITEMS
from vna.workitems.documents import Before, Documents, Writing
from vna.workitems.follow import passing_over
from vna.workitems.matching import Resemblance, paths_of
from vna.workitems.memory import Changes, Items
from vna.workitems.record import Event, WorkItem
from vna.workitems.subscribers import GlobalAction, Subscriber


class Worklist:
    """All work items of an archive.

    Every method but the pure ones blocks. What they return was durable before.

    Parameters
    ----------
    objects
        Where they are kept.
    resemblance
        Which words of names are alike.
    """

    def __init__(self, objects: ObjectStore, resemblance: Resemblance) -> None:
        self._documents = Documents(objects, resemblance)
        self._items = Items(self._documents.feed, self._documents.chains)

    def create(self, given: Attributes, uid: str, who: str) -> tuple[WorkItem, bool]:
        """Create a work item; return it, and whether it differs from what was given.

        Raises ``InvalidInputError``, ``RefusedError`` as :func:`vna.workitems.writing.created`, and if it exists.
        """
        item, changed = writing.created(given, uid)
        assignment = writing.assignment(item.attributes)

        def events(told: tuple[str, ...]) -> tuple[Event, ...]:
            assigned = (Event(5, told, assignment),) if assignment else ()
            return (item.state_report(told), *assigned)

        return self._documents.create(item, who, events), changed

    def get(self, uid: str) -> WorkItem:
        """Return a work item; raises ``NotFoundError``, ``GoneError``."""
        return self._documents.read(uid)

    def update(self, uid: str, given: Attributes, transaction: str, who: str) -> tuple[WorkItem, bool]:
        """Set attributes of a work item; return it, and whether they differ from what was given.

        Raises as :func:`vna.workitems.writing.updated`, and ``NotFoundError``.
        """
        changed = False

        def make(before: Before) -> Writing:
            nonlocal changed
            item, changed = writing.updated(before.item, given, transaction)
            matches = self._documents.matches(item.attributes)
            subscribed = subscribers.newly_matched(before.subscribed, before.subscribers, matches)
            told = subscribers.told(subscribed)
            return Writing(item, subscribed, writing.events_of_update(before.item.attributes, item, told))

        return self._documents.change(uid, "update", who, make), changed

    def change_state(self, uid: str, given: Attributes, who: str) -> tuple[WorkItem, bool]:
        """Change the state of a work item; return it, and whether it was not in that final state already.

        Raises as :func:`vna.workitems.states.changed`, and ``NotFoundError``.
        """
        changed = True

        def make(before: Before) -> Writing | None:
            nonlocal changed
            item = states.changed(before.item, given)
            changed = item is not None
            if item is None:
                return None
            matches = self._documents.matches(item.attributes)
            subscribed = subscribers.newly_matched(before.subscribed, before.subscribers, matches)
            return Writing(item, subscribed, (item.state_report(subscribers.told(subscribed)),))

        return self._documents.change(uid, "state", who, make), changed

    def request_cancel(self, uid: str, given: Attributes, ae_title: str, who: str) -> WorkItem:
        """Cancel a work item that nobody has claimed, or ask its performer to.

        Raises as :func:`vna.workitems.states.cancel_asked`, and ``NotFoundError``.
        """

        def make(before: Before) -> Writing:
            item, events = states.cancel_asked(before.item, given, ae_title, before.told)
            return Writing(item, before.subscribed, events)

        return self._documents.change(uid, "cancel-request", who, make)

    def search(self, criteria: Sequence[Criterion], offset: int, limit: int) -> tuple[list[Attributes], int]:
        """Return a page of the work items that meet all criteria, and how many do.

        In the order of scheduled start and UID; raises ``InvalidQueryError``.
        """
        test = self._documents.matching.test(criteria)
        self._items.sync()
        return self._items.find(test, paths_of(criteria), offset, limit)

    def subscribe(self, uid: str, ae_title: str, who: str, *, lock: bool) -> None:
        """Subscribe an application entity to a work item; raises ``NotFoundError``."""

        def make(before: Before) -> Writing:
            return Writing(before.item, before.subscribed | {ae_title: lock}, (before.item.state_report((ae_title,)),))

        self._documents.change(uid, "subscribe", who, make)

    def unsubscribe(self, uid: str, ae_title: str, who: str) -> None:
        """End a subscription to a work item; raises ``NotFoundError`` if there is none."""

        def make(before: Before) -> Writing:
            if ae_title not in before.told:
                raise NotFoundError(f"{ae_title} is not subscribed to {uid}")
            return Writing(before.item, before.subscribed | {ae_title: None})

        self._documents.change(uid, "unsubscribe", who, make)

    def subscribe_all(
        self, ae_title: str, who: str, *, lock: bool, criteria: Sequence[Criterion] | None = None
    ) -> None:
        """Subscribe an application entity to all work items there are and will be, or to those that meet criteria."""
        wanted = None if criteria is None else tuple(criteria)
        self._documents.matching.test(wanted or ())
        self._documents.change_subscriber(
            ae_title, who, lambda _before, clock: GlobalAction(clock, "subscribe", lock, wanted)
        )

    def unsubscribe_all(self, ae_title: str, who: str, *, filtered: bool) -> None:
        """End every subscription of an application entity; raises ``NotFoundError`` if there is none.

        ``filtered`` says by which of the two UIDs it was asked: that of a filtered
        subscription ends only one that has a filter.
        """
        single = not filtered and self._has_single(ae_title)

        def make(before: Subscriber, clock: int) -> GlobalAction:
            open_ended = bool(before.actions) and before.actions[-1].do != "unsubscribe"
            if filtered:
                open_ended &= any(each.criteria is not None for each in before.actions)
            if not (open_ended or single):
                raise NotFoundError(f"{ae_title} has no such subscription")
            return GlobalAction(clock, "unsubscribe")

        self._documents.change_subscriber(ae_title, who, make)

    def _has_single(self, ae_title: str) -> bool:
        self._items.sync()
        return self._items.has_subscriber(ae_title)

    def suspend(self, ae_title: str, who: str, *, filtered: bool) -> None:
        """Subscribe an application entity to no more that come; raises ``NotFoundError`` if it was to none."""

        def make(before: Subscriber, clock: int) -> GlobalAction:
            active = before.active
            if active is None or (filtered and active.criteria is None):
                raise NotFoundError(f"{ae_title} has no such subscription")
            return GlobalAction(clock, "suspend")

        self._documents.change_subscriber(ae_title, who, make)

    def changes(self, listener: Callable[[WorkItem | Subscriber], None], on_written: Callable[[], None]) -> Changes:
        """Return what tells a listener each change that comes, whenever its ``sync`` is called.

        ``on_written`` is called when this process has made one, in the thread that did.
        """
        self._documents.on_written = on_written
        return Changes(self._documents.feed, self._documents.chains, listener)

    def initial_reports(self, subscriber: Subscriber) -> Iterator[tuple[str, Event]]:
        """Yield the state of each work item that a global subscription with a lock now covers (PS3.4 CC.2.4.3)."""
        action = subscriber.active
        if action is None or not action.lock or action.clock != subscriber.clock:
            return
        self._items.sync()
        for uid, data in self._items.each():
            attributes = orjson.loads(data)
            if action.criteria is None or self._documents.matching.matches(action.criteria, attributes):
                yield uid, WorkItem(uid, attributes=attributes).state_report((subscriber.ae_title,))

    def subscribed_before(self, ae_title: str, moment: str) -> bool:
        """Say whether an application entity had a subscription before a moment (ISO 8601, UTC)."""
        known, _seen = self._documents.subscribers.now()
        if any(each.ae_title == ae_title and each.when < moment and each.active for each in known):
            return True
        self._items.sync()
        return self._items.has_subscriber(ae_title, moment)

    def remove_expired(self, days: int) -> int:
        """Remove the work items that have been in a final state for some days; return how many.

        One that a subscriber has locked stays (PS3.4 CC.2.1.3). Of the others a
        note is left, so that their UIDs are known to be gone.
        """
        oldest = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y%m%d%H%M%S")
        removed = 0
        for data in self._documents.chains.all_last(ITEMS):
            with passing_over("a work item"):
                item = record.from_json(data)
                old = item.is_final and tags.text(item.attributes, tags.MODIFIED) < oldest
                removed += old and self._remove(item.uid)
        return removed

    def _remove(self, uid: str) -> bool:
        done = False

        def make(before: Before) -> Writing | None:
            nonlocal done
            done = not any(before.subscribed.values())
            return Writing(replace(before.item, attributes={}, transaction="", removed=True), {}) if done else None

        written = self._documents.change(uid, "remove", "archive", make)
        if done:
            self._documents.chains.drop_before(ITEMS, record.item_id(uid), written.revision)
        return done
