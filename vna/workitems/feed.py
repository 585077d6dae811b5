"""The feed: that something of the worklist changes, in one order for all processes.

An entry is an object with the next number as its key, put if absent, and says
which revision of which document is about to be put. It comes *before* the
revision, so that whoever follows the feed misses no change that was
acknowledged, and is put *if absent*, so that there is one order. An entry whose
revision never comes, since its writer died or was too slow, says nothing.

It is a hint and not the record: all documents can be read without it. Entries
are removed when they are a day old. Who has not followed for an hour reads the
documents anew instead.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import orjson

from vna.domain.errors import NotFoundError
from vna.ports.objects import ObjectStore
from vna.workitems.chain import PREFIX

_FEED = f"{PREFIX}feed/"
_KEPT = timedelta(days=1)
# Who reads the documents anew looks at the entries of this span, too: their revisions may not have been there yet.
_RECENT = timedelta(minutes=15)
_IN_FOLDER = 1000
_PRUNE_EVERY = 100
_PRUNE_MOST = 1000
_CACHED = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """A change that is about to be made: its number, and the document and revision that it makes."""

    number: int
    kind: str
    name: str
    revision: int


class Feed:
    """The feed of a worklist.

    Parameters
    ----------
    objects
        Where it is kept.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._read: OrderedDict[int, Entry] = OrderedDict()

    def end(self) -> int:
        """Return the number of the last entry, 0 if there is none."""
        low = self._oldest()
        if not low:
            return 0
        step = 1
        while self._modified(low + step) is not None:
            low, step = low + step, step * 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._modified(middle) is not None else (low, middle)
        return low

    def begin(self) -> int:
        """Return the number after which to follow for one who is about to read all documents."""
        end = self.end()
        newest = self._modified(end) if end else None
        if newest is None:
            return end
        low, high = self._oldest() - 1, end
        while high - low > 1:
            middle = (low + high) // 2
            modified = self._modified(middle)
            recent = modified is not None and modified >= newest - _RECENT
            low, high = (low, middle) if recent else (middle, high)
        return high - 1

    def after(self, number: int) -> Iterator[Entry]:
        """Yield the entries after one, to the last there is."""
        while (entry := self._entry(number + 1)) is not None:
            yield entry
            number += 1

    def append(self, kind: str, name: str, revision: int, after: int) -> int:
        """Say that a change is about to be made; return its number.

        Parameters
        ----------
        kind, name, revision
            What will be put.
        after
            A number at or shortly before the end.
        """
        data = orjson.dumps([kind, name, revision])
        number = after + 1
        while not self._objects.put(_key(number), data, "application/json"):
            number += 1
        if number % _PRUNE_EVERY == 0:
            self._prune(number)
        return number

    def _entry(self, number: int) -> Entry | None:
        known = self._read.get(number)
        if known is not None:
            return known
        try:
            kind, name, revision = orjson.loads(self._objects.get(_key(number)))
        except NotFoundError:
            return None
        entry = self._read[number] = Entry(number, kind, name, revision)
        while len(self._read) > _CACHED:
            self._read.popitem(last=False)
        return entry

    def _modified(self, number: int) -> datetime | None:
        found = self._objects.head(_key(number))
        return found.modified if found is not None else None

    def _oldest(self) -> int:
        return next((_number(info.key) for info in self._objects.list(_FEED)), 0)

    def _prune(self, newest: int) -> None:
        now = self._modified(newest)
        for info in list(islice(self._objects.list(_FEED), _PRUNE_MOST)):
            if now is None or info.modified > now - _KEPT:
                return
            self._objects.delete(info.key)


def _key(number: int) -> str:
    return f"{_FEED}{number // _IN_FOLDER:09d}/{number:012d}.json"


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].removesuffix(".json"))
