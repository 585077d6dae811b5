"""Receiving: spool, make durable, hint the queue. What a gateway calls before it acknowledges."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from vna.domain.errors import UnavailableError
from vna.domain.origin import Origin
from vna.ingest.hints import Hints
from vna.ingest.spool import Spool, SpoolEntry, SpoolFile

_IDLE_SECONDS = 2.0


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
        self._receiver.announce(entry, self._file)
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

    def announce(self, entry: SpoolEntry, file: SpoolFile) -> None:
        """Tell the queue of an entry, and return when it may be acknowledged; raises ``UnavailableError``."""
        wait = self._stored_seconds
        self._hints.add(entry, urgent=wait > 0)
        if not wait:
            return
        file.close()  # others may have its place meanwhile
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
