"""Hints: telling the queue of entries that are durable.

A hint is worth little. Whatever the queue was not told of, the sweeper finds in
the spool. So nothing here waits for a broker, and no queue is filled beyond a
depth: some hundred messages keep every worker busy, and more of them would fill
the broker while the object store is away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from vna.ingest.spool import SpoolEntry
from vna.ports.queue import Queue

INGEST_TASK = "vna.ingest.commit"
# The same work in a queue of its own, so that nobody waits for it.
INGEST_LARGE_TASK = "vna.ingest.commit_large"
LARGE_BYTES = 64 << 20
# Messages in a queue beyond which no hints are added: with 64 entries each, some 13,000 entries.
DEEPEST = 200
# Bytes of one message: with them one batch does not take a slow link for an hour.
_MESSAGE_BYTES = 4 * LARGE_BYTES
# A batch takes a second; with services at their time-outs, minutes.
BASE_SECONDS = 600.0
# The slowest link to an object store that is still of use, in bytes a second.
_SLOWEST = 1_000_000
_DEPTH_SECONDS = 1.0
_IDLE_SECONDS = 2.0


def ingest_queue(spool_id: str, *, large: bool = False) -> str:
    """Return the name of the queue whose workers can reach a spool."""
    return f"{'ingest-large' if large else 'ingest'}.{spool_id}"


def longest_seconds(length: int) -> float:
    """Return how long it may take to commit so many bytes, before whoever does it counts as hanging."""
    return BASE_SECONDS + length / _SLOWEST


def enqueue_entries(queue: Queue, spool_id: str, entries: Sequence[SpoolEntry], large_bytes: int = LARGE_BYTES) -> None:
    """Send one message for the small entries together (more if they are many bytes), and one for each large entry.

    Raises
    ------
    UnavailableError
        The broker did not take all of them.
    """
    for large, group in _messages(entries, large_bytes):
        queue.enqueue(
            INGEST_LARGE_TASK if large else INGEST_TASK,
            [[entry.name for entry in group]],
            ingest_queue(spool_id, large=large),
            seconds=longest_seconds(sum(entry.length for entry in group)),
        )


def _messages(entries: Sequence[SpoolEntry], large_bytes: int) -> Iterator[tuple[bool, list[SpoolEntry]]]:
    """Yield what one message carries each, and whether it is a large entry."""
    group: list[SpoolEntry] = []
    length = 0
    for entry in entries:
        if entry.length >= large_bytes:
            continue
        if group and length + entry.length > _MESSAGE_BYTES:
            yield False, group
            group, length = [], 0
        group.append(entry)
        length += entry.length
    if group:
        yield False, group
    for entry in entries:
        if entry.length >= large_bytes:
            yield True, [entry]


class _Room:
    """Whether a queue may be given another message; its depth is asked for about once a second."""

    def __init__(self, queue: Queue, name: str, deepest: int) -> None:
        self._queue = queue
        self._name = name
        self._deepest = deepest
        self._depth = 0
        self._asked = -_DEPTH_SECONDS

    def take(self) -> bool:
        """Count a message that is about to be sent; ``False`` if the queue is deep enough without it."""
        now = time.monotonic()
        if now - self._asked >= _DEPTH_SECONDS:
            self._depth = self._queue.depth(self._name)
            self._asked = now
        if self._depth >= self._deepest:
            return False
        # Others send, too, and workers take: between two questions this is a guess, a second old at most.
        self._depth += 1
        return True


class Hints:
    """Tells the queue of new entries, in batches, from a thread of its own.

    Never blocks and never fails the caller: when the broker is away, or the
    queue is deep, hints are dropped, and the sweeper finds the entries.

    Parameters
    ----------
    queue, spool_id
        Whom to tell, and the spool's name in the names of its queues.
    batch
        Entries at which a batch is sent at once, and most of a message.
    seconds
        How long a batch waits for more.
    large_bytes
        Length from which an entry goes alone, to a queue of its own.
    deepest
        Messages in a queue beyond which hints are dropped.
    on_drop
        Told how many hints were dropped.
    """

    # Past this many hints that wait for a broker, more are dropped: memory stays small, the sweeper works.
    _MOST = 100_000

    def __init__(
        self,
        queue: Queue,
        spool_id: str,
        *,
        batch: int = 64,
        seconds: float = 0.2,
        large_bytes: int = LARGE_BYTES,
        deepest: int = DEEPEST,
        on_drop: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._queue = queue
        self._spool_id = spool_id
        self._batch = batch
        self._seconds = seconds
        self._large = large_bytes
        self._on_drop = on_drop
        self._room = {large: _Room(queue, ingest_queue(spool_id, large=large), deepest) for large in (False, True)}
        self._entries: list[SpoolEntry] = []
        self._urgent: set[str] = set()
        self._more = threading.Condition()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="ingest-hints", daemon=True)
        self._thread.start()

    def add(self, entry: SpoolEntry, *, urgent: bool = False) -> None:
        """Note an entry that is durable.

        Parameters
        ----------
        entry
            The entry.
        urgent
            Somebody waits until it is stored: it is sent at once, with what waits beside it, however deep the
            queue is. There are never more of them than senders that wait.
        """
        with self._more:
            if len(self._entries) >= self._MOST:
                self._on_drop(1)
                return
            self._entries.append(entry)
            if urgent:
                self._urgent.add(entry.name)
            if urgent or len(self._entries) in {1, self._batch}:
                self._more.notify()

    def _run(self) -> None:
        with self._more:
            # The first word to a broker takes long: it is said ahead, but not while the gateway starts.
            self._more.wait_for(lambda: self._entries or self._stop, _IDLE_SECONDS)
            idle = not self._entries and not self._stop
        if idle:
            with suppress(Exception):
                self._queue.check()
        while True:
            with self._more:
                self._more.wait_for(lambda: self._entries or self._stop)
                if not self._entries:
                    return
                self._more.wait_for(self._is_time, self._seconds)
                batch = self._entries[: self._batch]
                del self._entries[: self._batch]
                urgent = {entry.name for entry in batch} & self._urgent
                self._urgent -= urgent
            self._send(batch, urgent)

    def _is_time(self) -> bool:
        return len(self._entries) >= self._batch or bool(self._urgent) or self._stop

    def _send(self, batch: list[SpoolEntry], urgent: set[str]) -> None:
        for large, group in _messages(batch, self._large):
            try:
                wanted = self._wanted(large, group, urgent)
                if wanted:
                    enqueue_entries(self._queue, self._spool_id, wanted, self._large)
            except Exception:  # noqa: BLE001 - whatever a broker's client raises, this thread goes on
                self._on_drop(len(group))
            else:
                if len(wanted) < len(group):
                    self._on_drop(len(group) - len(wanted))

    def _wanted(self, large: bool, group: list[SpoolEntry], urgent: set[str]) -> list[SpoolEntry]:
        """Return those of a message's entries that are to be sent now."""
        if self._room[large].take():
            return group
        return [entry for entry in group if entry.name in urgent]

    def close(self) -> None:
        """Send what waits, then end the thread."""
        with self._more:
            self._stop = True
            self._more.notify()
        self._thread.join(timeout=10)
