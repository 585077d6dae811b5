"""Following the feed: what a process holds in memory of the worklist is brought up to date before it is used."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from vna.domain.errors import IntegrityError
from vna.workitems.chain import Chains
from vna.workitems.feed import Entry, Feed

_log = logging.getLogger(__name__)

_STALE_SECONDS = 3600.0
# An entry whose revision is not there waits so long for its writer, whose store may be slow.
_WRITER_SECONDS = 600.0


@contextmanager
def passing_over(what: str) -> Iterator[None]:
    """Log a document that cannot be read, and go on: it must not hide all others."""
    try:
        yield
    except IntegrityError:
        _log.exception("worklist: %s is passed over", what)


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: Entry
    since: float


class Follower(ABC):
    """Takes every change of the worklist, in the order of the feed.

    Parameters
    ----------
    feed, chains
        The changes, and what they change.
    """

    kind: ClassVar[str] = ""
    """Kind of the documents that it follows, empty for all."""

    def __init__(self, feed: Feed, chains: Chains) -> None:
        self._feed = feed
        self._chains = chains
        self._lock = threading.Lock()
        self._began = 0.0
        self._synced: float | None = None
        self._waiting: list[_Waiting] = []
        self.position = 0

    def sync(self) -> None:
        """Return when every change that was acknowledged before the call has been taken; a blocking call."""
        asked = time.monotonic()
        with self._lock:
            if self._began >= asked:
                return  # somebody began after this was asked, and is through
            began = time.monotonic()
            if self.is_stale:
                self.position = self.load()
                self._waiting.clear()
            self._synced = time.time()
            self._take_all()
            self._began = began

    def _take_all(self) -> None:
        waiting = self._waiting
        for entry in self._feed.after(self.position):
            if self.kind in {"", entry.kind}:
                waiting.append(_Waiting(entry, time.monotonic()))
            self.position = entry.number
        left: list[_Waiting] = []
        try:
            while waiting:
                if not self._taken(waiting[0]):
                    left.append(waiting[0])
                del waiting[0]
        finally:
            self._waiting = left + waiting

    def _taken(self, each: _Waiting) -> bool:
        """Take a revision, or say that it is still to be waited for."""
        data = self._chains.read(each.entry.kind, each.entry.name, each.entry.revision)
        if data is None:
            return time.monotonic() - each.since >= _WRITER_SECONDS
        with passing_over(f"revision {each.entry.revision} of {each.entry.name}"):
            self.take(each.entry, data)
        return True

    @property
    def is_stale(self) -> bool:
        """Whether it has not followed for so long that entries may have been removed unseen."""
        # By the clock on the wall: another one stands still while a machine sleeps.
        return self._synced is None or time.time() - self._synced > _STALE_SECONDS

    @property
    def settled(self) -> int:
        """Number up to which every change was taken."""
        return min((each.entry.number - 1 for each in self._waiting), default=self.position)

    @abstractmethod
    def load(self) -> int:
        """Begin anew; return the number after which to follow."""

    @abstractmethod
    def take(self, entry: Entry, data: bytes) -> None:
        """Take a revision; it may have been put for another entry, if two wrote at once."""
