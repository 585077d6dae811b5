"""Receiving: spool, make durable, hint the queue. What a gateway calls before it acknowledges."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from vna.domain.origin import Origin
from vna.ingest.hints import Hints
from vna.ingest.spool import Spool, SpoolEntry, SpoolFile

_IDLE_SECONDS = 2.0


class Incoming:
    """One instance being received: write its Part-10 bytes, then commit.

    Use as a context manager: leaving it without :meth:`commit` leaves nothing behind.
    """

    def __init__(self, file: SpoolFile, hints: Hints) -> None:
        self._file = file
        self._hints = hints
        self.write = file.write
        self.fileno = file.fileno

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._file.length

    def commit(self) -> SpoolEntry:
        """Return when the bytes are durable: from here on the archive answers for them.

        Raises ``OutOfResourcesError`` if they are not; then nothing may be acknowledged.
        """
        entry = self._file.seal()
        self._hints.add(entry)
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
    """

    def __init__(self, spool: Spool, hints: Hints) -> None:
        self.spool = spool
        self._hints = hints

    def prepare(self) -> None:
        """Make ahead what the first instances need, in the background, once the gateway has started."""
        self.spool.log.prepare(_IDLE_SECONDS)

    def begin(self, origin: Origin) -> Incoming:
        """Start to receive an instance.

        Raises
        ------
        OutOfResourcesError
            Free disk is below the limit, or no file can be made.
        """
        return Incoming(self.spool.begin(origin), self._hints)

    def close(self) -> None:
        """Send the hints that wait."""
        self._hints.close()
        self.spool.close()
