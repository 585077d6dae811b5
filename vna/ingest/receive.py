"""Receiving: spool, make durable, hint the queue. What a gateway calls before it acknowledges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from vna.domain.errors import UnavailableError
from vna.domain.origin import Origin
from vna.ingest.spool import Spool, SpoolEntry, SpoolFile
from vna.ports.queue import Queue

INGEST_TASK = "vna.ingest.commit"
# The same work under a name of its own, so that it may take longer.
INGEST_LARGE_TASK = "vna.ingest.commit_large"
LARGE_BYTES = 64 << 20
_IDLE_SECONDS = 2.0


def ingest_queue(spool_id: str, *, large: bool = False) -> str:
    """Return the name of the queue whose workers can reach a spool."""
    return f"{'ingest-large' if large else 'ingest'}.{spool_id}"


def enqueue_entries(queue: Queue, spool_id: str, entries: Sequence[SpoolEntry], large_bytes: int = LARGE_BYTES) -> None:
    """Send one message for the small entries together, and one for each large entry.

    Raises
    ------
    UnavailableError
        The broker did not take all of them.
    """
    small = [entry.name for entry in entries if entry.length < large_bytes]
    if small:
        queue.enqueue(INGEST_TASK, [small], ingest_queue(spool_id))
    for entry in entries:
        if entry.length >= large_bytes:
            queue.enqueue(INGEST_LARGE_TASK, [[entry.name]], ingest_queue(spool_id, large=True))


class Hints:
    """Tells the queue of new entries, in batches, from a thread of its own.

    Never blocks and never fails the caller: when the broker is away the hints
    are dropped, and the sweeper finds the entries.
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
        on_drop: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._queue = queue
        self._spool_id = spool_id
        self._batch = batch
        self._seconds = seconds
        self._large = large_bytes
        self._on_drop = on_drop
        self._entries: list[SpoolEntry] = []
        self._more = threading.Condition()
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="ingest-hints", daemon=True)
        self._thread.start()

    def add(self, entry: SpoolEntry, *, urgent: bool = False) -> None:
        """Note an entry that is durable."""
        with self._more:
            if len(self._entries) >= self._MOST:
                self._on_drop(1)
                return
            self._entries.append(entry)
            if len(self._entries) in {1, self._batch}:
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
                while not self._entries and not self._stop:
                    self._more.wait()
                if not self._entries:
                    return
                if len(self._entries) < self._batch and not self._stop:
                    self._more.wait(self._seconds)
                batch = self._entries[: self._batch]
                del self._entries[: self._batch]
            try:
                enqueue_entries(self._queue, self._spool_id, batch, self._large)
            except Exception:  # noqa: BLE001 - whatever a broker's client raises, this thread goes on
                self._on_drop(len(batch))

    def close(self) -> None:
        """Send what waits, then end the thread."""
        with self._more:
            self._stop = True
            self._more.notify()
        self._thread.join(timeout=10)


class Incoming:
    """One instance being received: write its Part-10 bytes, then commit.

    Use as a context manager: leaving it without :meth:`commit` leaves nothing behind.
    """

    def __init__(self, file: SpoolFile, receiver: Receiver) -> None:
        self._file = file
        self._receiver = receiver
        self.write = file.write
        self.reading = file.reading

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._file.length

    def commit(self) -> SpoolEntry:
        """Return when the bytes are durable: from here on the archive answers for them.

        Raises
        ------
        OutOfResourcesError
            They are not durable; nothing may be acknowledged.
        UnavailableError
            They are, but the object store does not have them yet, and the sender is to be told no less. What is in
            the spool goes on; the same instance sent again is a duplicate.
        """
        entry = self._file.seal()
        # Others may have the place while this one waits.
        self._file.close()
        self._receiver.announce(entry)
        return entry

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, and discard what was not committed."""
        self._file.close()

    def close(self) -> None:
        """Close, and discard what was not committed."""
        self._file.close()


class Receiver:
    """The way into the archive for every gateway. Safe for use by many threads.

    Parameters
    ----------
    spool
        Where instances are kept until they are stored and indexed.
    hints
        Where to tell of new ones.
    stored_seconds
        How long an answer waits for the object store; 0 if the spool is enough.
    """

    def __init__(self, spool: Spool, hints: Hints, *, stored_seconds: float = 0.0) -> None:
        self.spool = spool
        self._hints = hints
        self._stored_seconds = stored_seconds

    def prepare(self) -> None:
        """Make ahead what the first instances need, in the background, once the gateway has started."""
        self.spool.prepare(_IDLE_SECONDS)

    def begin(self, origin: Origin) -> Incoming:
        """Start to receive an instance.

        Raises
        ------
        OutOfResourcesError
            Free disk is below the limit, or no file can be made.
        """
        return Incoming(self.spool.begin(origin), self)

    def announce(self, entry: SpoolEntry) -> None:
        """Tell the queue of an entry, and return when it may be acknowledged; raises ``UnavailableError``."""
        wait = self._stored_seconds
        self._hints.add(entry, urgent=wait > 0)
        if not wait:
            return
        deadline = time.monotonic() + wait
        pause = 0.002
        while self.spool.waits(entry):
            if time.monotonic() > deadline:
                raise UnavailableError(f"the object store does not have it after {wait:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def close(self) -> None:
        """Send the hints that wait."""
        self._hints.close()
        self.spool.close()
