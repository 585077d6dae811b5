"""What a process holds in memory of the worklist: its work items, to be searched, and who asked for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from vna.domain.records import Attributes
from vna.workitems import record, subscribers, tags
from vna.workitems.chain import ITEMS, SUBSCRIBERS, Chains
from vna.workitems.feed import Entry, Feed
from vna.workitems.follow import Follower, passing_over
from vna.workitems.matching import Test, Texts, terms_at, terms_of

USUAL = (
    tags.SOP_INSTANCE,
    tags.STATE,
    tags.START,
    tags.PRIORITY,
    tags.READINESS,
    tags.LABEL,
    tags.WORKLIST_LABEL,
    tags.PATIENT_ID,
    "00100010",
    "00404018.00080100",
    "00404025.00080100",
    "00404026.00080100",
    "00404027.00080100",
    "0040A370.00080050",
)
"""Paths whose terms are made when a work item is taken; those of others when they are first asked for."""
_MOST_COLUMNS = 200
_LAST = "~"


@dataclass(frozen=True, slots=True)
class _Row:
    """A work item: its revision and when it was written, its attributes as JSON, and who is subscribed to it."""

    uid: str
    revision: int
    when: str
    attributes: bytes
    subscribed: frozenset[str]


class Items(Follower):
    """All work items, with columns of terms by path.

    Ten thousand work items take about 120 MB, and a search some ten milliseconds,
    a first one by an unusual attribute a fifth of a second more.
    """

    def __init__(self, feed: Feed, chains: Chains) -> None:
        super().__init__(feed, chains)
        self._rows: dict[str, _Row] = {}
        self._columns: dict[str, dict[str, Texts]] = {path: {} for path in USUAL}

    def load(self) -> int:
        """Read all work items."""
        begin = self._feed.begin()
        self._rows.clear()
        for column in self._columns.values():
            column.clear()
        for data in self._chains.all_last(ITEMS):
            with passing_over("a work item"):
                self._put(record.from_json(data))
        return begin

    def take(self, entry: Entry, data: bytes) -> None:
        """Take a revision of a work item."""
        if entry.kind == ITEMS:
            item = record.from_json(data)
            row = self._rows.get(item.uid)
            if row is None or row.revision < item.revision:
                self._put(item)

    def _put(self, item: record.WorkItem) -> None:
        uid = item.uid
        for column in self._columns.values():
            column.pop(uid, None)
        if item.removed:
            self._rows.pop(uid, None)
            return
        known = terms_of({tag: item.attributes[tag] for tag in _TOPS if tag in item.attributes})
        for path in USUAL:
            self._columns[path][uid] = known.get(path, ())
        subscribed = frozenset(subscribers.told(item.subscribers))
        self._rows[uid] = _Row(uid, item.revision, item.when, orjson.dumps(item.attributes), subscribed)

    def find(self, test: Test, paths: Sequence[str], offset: int, limit: int) -> tuple[list[Attributes], int]:
        """Return a page of the work items that pass a test, and how many there are.

        In the order of their scheduled start, then of their UIDs. Call
        :meth:`sync` before.

        Parameters
        ----------
        test
            The test.
        paths
            The paths that it looks at.
        offset, limit
            The page.
        """
        with self._lock:
            columns = {path: self._column(path) for path in paths}
            starts = self._columns[tags.START]
            found = [uid for uid in self._rows if test(lambda path, uid=uid: columns[path][uid])]  # type: ignore[misc]
            found.sort(key=lambda uid: ((starts[uid] or (_LAST,))[0], uid))
            page = [self._rows[uid].attributes for uid in found[offset : offset + limit]]
        return [orjson.loads(each) for each in page], len(found)

    def each(self) -> list[tuple[str, bytes]]:
        """Return UID and attributes, as JSON, of all work items."""
        with self._lock:
            return [(row.uid, row.attributes) for row in self._rows.values()]

    def has_subscriber(self, ae_title: str, before: str = _LAST) -> bool:
        """Say whether somebody is subscribed to any one work item that was written before a moment (ISO 8601)."""
        with self._lock:
            return any(ae_title in row.subscribed and row.when < before for row in self._rows.values())

    def _column(self, path: str) -> dict[str, Texts]:
        column = self._columns.get(path)
        if column is None:
            if len(self._columns) >= _MOST_COLUMNS:
                self._columns = {each: self._columns[each] for each in USUAL}
            column = self._columns[path] = {}
        if len(column) < len(self._rows):
            for uid, row in self._rows.items():
                if uid not in column:
                    column[uid] = terms_at(orjson.loads(row.attributes), path)
        return column


_TOPS = frozenset(path.partition(".")[0] for path in USUAL)


class Subscribers(Follower):
    """Those who asked for all work items."""

    kind = SUBSCRIBERS

    def __init__(self, feed: Feed, chains: Chains) -> None:
        super().__init__(feed, chains)
        self._known: dict[str, subscribers.Subscriber] = {}

    def load(self) -> int:
        """Read all subscribers."""
        begin = self._feed.begin()
        self._known.clear()
        for data in self._chains.all_last(SUBSCRIBERS):
            with passing_over("a subscriber"):
                found = subscribers.from_json(data)
                self._known[found.ae_title] = found
        return begin

    def take(self, entry: Entry, data: bytes) -> None:
        """Take a revision of a subscriber."""
        del entry
        found = subscribers.from_json(data)
        known = self._known.get(found.ae_title)
        if known is None or known.revision < found.revision:
            self._known[found.ae_title] = found

    def now(self) -> tuple[list[subscribers.Subscriber], int]:
        """Return all of them, and the number up to which nothing of what they asked is missing."""
        self.sync()
        with self._lock:
            return list(self._known.values()), self.settled


class Changes(Follower):
    """Every change that comes, told to a listener; nothing of before the first call of ``sync``.

    Parameters
    ----------
    feed, chains
        As for any follower.
    listener
        Is told the work items and subscribers that were written.
    """

    def __init__(
        self, feed: Feed, chains: Chains, listener: Callable[[record.WorkItem | subscribers.Subscriber], None]
    ) -> None:
        super().__init__(feed, chains)
        self._listener = listener

    def load(self) -> int:
        """Begin with what comes."""
        return self._feed.end()

    def take(self, entry: Entry, data: bytes) -> None:
        """Tell a revision, if it was put for the entry and not by a faster writer."""
        reader = record.from_json if entry.kind == ITEMS else subscribers.from_json
        found = reader(data)
        if found.clock == entry.number:
            self._listener(found)
