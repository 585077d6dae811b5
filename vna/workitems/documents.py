"""Reading and changing the documents of the worklist, whoever else does so at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from vna.domain.errors import NotFoundError, UnavailableError
from vna.domain.origin import iso_utc, now_us
from vna.domain.query import Criterion
from vna.domain.records import Attributes
from vna.ports.objects import ObjectStore
from vna.workitems import record, subscribers
from vna.workitems.chain import ITEMS, SUBSCRIBERS, Chains
from vna.workitems.feed import Feed
from vna.workitems.matching import Matching, Resemblance
from vna.workitems.memory import Subscribers
from vna.workitems.record import Event, WorkItem
from vna.workitems.refusals import GoneError, Reason, RefusedError
from vna.workitems.subscribers import GlobalAction, Subscriber

# Of so many who change one work item at once each wins in the end.
_TRIES = 200

Matches = Callable[[Sequence[Criterion]], bool]


@dataclass(frozen=True, slots=True)
class Writing:
    """A change that is to be written: the work item as it becomes, who is subscribed then, and what is told."""

    item: WorkItem
    subscribed: Mapping[str, bool | None]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Before:
    """A work item as it is, who is subscribed to it, and all who asked for all work items."""

    item: WorkItem
    subscribed: dict[str, bool | None]
    subscribers: Sequence[Subscriber]

    @property
    def told(self) -> tuple[str, ...]:
        """AE titles of those who are told."""
        return subscribers.told(self.subscribed)


def _nothing() -> None:
    """Tell nobody."""


class Documents:
    """The documents of a worklist.

    Parameters
    ----------
    objects
        Where they are kept.
    resemblance
        Which words of names are alike, for filters.
    """

    def __init__(self, objects: ObjectStore, resemblance: Resemblance) -> None:
        self.chains = Chains(objects)
        self.feed = Feed(objects)
        self.matching = Matching(resemblance)
        self.subscribers = Subscribers(self.feed, self.chains)
        self.on_written: Callable[[], None] = _nothing

    def matches(self, attributes: Attributes) -> Matches:
        """Return whether a data set meets criteria, as a function of these."""
        return lambda criteria: self.matching.matches(criteria, attributes)

    def read(self, uid: str) -> WorkItem:
        """Return a work item; raises ``NotFoundError``, or ``GoneError`` if it was removed."""
        data = self.chains.last(ITEMS, record.item_id(uid))
        if data is None:
            raise NotFoundError(f"there is no work item {uid[:80]}")
        item = record.from_json(data)
        if item.removed:
            raise GoneError(f"the work item {uid[:80]} was removed, as its time was over")
        return item

    def create(self, item: WorkItem, who: str, events: Callable[[tuple[str, ...]], tuple[Event, ...]]) -> WorkItem:
        """Write the first revision of a work item; raises ``RefusedError`` if there is one.

        Parameters
        ----------
        item
            The work item.
        who
            Who creates it.
        events
            Returns what is told, given the AE titles of those who are told.
        """
        name = record.item_id(item.uid)
        exists = RefusedError(Reason.EXISTS, f"there is a work item {item.uid} already")
        if self.chains.last(ITEMS, name) is not None:
            raise exists
        known, seen = self.subscribers.now()
        subscribed = subscribers.effective(item, known, self.matches(item.attributes))
        told = subscribers.told(subscribed)
        written = self._write(item, "create", who, seen, Writing(item, subscribed, events(told)))
        if written is None:
            raise exists
        return written

    def change(self, uid: str, action: str, who: str, make: Callable[[Before], Writing | None]) -> WorkItem:
        """Write the next revision of a work item, and return it.

        Parameters
        ----------
        uid
            SOP Instance UID.
        action, who
            What is done, and by whom.
        make
            Returns what to write, or ``None`` for nothing; it may raise. Called
            again, with the work item as it is then, if somebody else was faster.

        Raises
        ------
        NotFoundError
            There is no such work item.
        UnavailableError
            Others keep changing it.
        """
        for _ in range(_TRIES):
            known, seen = self.subscribers.now()
            item = self.read(uid)
            subscribed = subscribers.effective(item, known, self.matches(item.attributes))
            writing = make(Before(item, subscribed, known))
            if writing is None:
                return item
            written = self._write(item, action, who, seen, writing)
            if written is not None:
                return written
        raise UnavailableError(f"the work item {uid} is changed by too many at once")

    def _write(self, item: WorkItem, action: str, who: str, seen: int, writing: Writing) -> WorkItem | None:
        name, revision = record.item_id(item.uid), item.revision + 1
        written = replace(
            writing.item,
            revision=revision,
            clock=self._number(ITEMS, name, revision),
            seen=max(seen, item.seen),
            action=action,
            when=iso_utc(now_us()),
            who=who,
            subscribers=writing.subscribed,
            events=writing.events,
        )
        if not self.chains.add(ITEMS, name, revision, record.to_json(written)):
            return None
        self.on_written()
        return written

    def _number(self, kind: str, name: str, revision: int) -> int:
        """Enter a change into the feed."""
        if self.subscribers.is_stale:
            # Numbers near the one that is known may have been given and forgotten since.
            raise UnavailableError("this process has stood still for an hour; try again")
        return self.feed.append(kind, name, revision, self.subscribers.position)

    def change_subscriber(self, ae_title: str, who: str, make: Callable[[Subscriber, int], GlobalAction]) -> Subscriber:
        """Write what an application entity asks for all work items.

        Parameters
        ----------
        ae_title
            Its AE title.
        who
            Who asks.
        make
            Returns what is asked, given what was before and the number of the change; it may raise.
        """
        name = subscribers.subscriber_id(ae_title)
        for _ in range(_TRIES):
            self.subscribers.sync()
            data = self.chains.last(SUBSCRIBERS, name)
            before = subscribers.from_json(data) if data is not None else Subscriber(ae_title)
            make(before, 0)  # what is refused leaves no entry
            revision = before.revision + 1
            clock = self._number(SUBSCRIBERS, name, revision)
            actions = before.after(make(before, clock))
            written = Subscriber(ae_title, revision, clock, actions, iso_utc(now_us()), who)
            if self.chains.add(SUBSCRIBERS, name, revision, subscribers.to_json(written)):
                self.on_written()
                return written
        raise UnavailableError(f"the subscriptions of {ae_title} are changed by too many at once")
