"""The trail as the rest of the archive sees it: events are given to a recorder, which never waits and never fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Protocol

from vna.domain.audit import AuditEvent, Kind, Outcome, Participant
from vna.security.audit_journal import JournalWriter
from vna.security.audit_repeats import Repeats

log = logging.getLogger(__name__)

# Events wait so long for others: one write for all costs the threads that serve clients less than one each.
_LINGER_SECONDS = 0.02
# What is written survives the death of the process; a power cut, after at most this long.
_SYNC_SECONDS = 0.2
# Events that wait for a disk that takes none; beyond it they are counted, not kept.
_MOST = 100_000
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 5.0


class Recorder(Protocol):
    """Where events go."""

    def record(self, event: AuditEvent) -> None:
        """Take an event; never waits, never raises."""

    def repeated(self, key: Hashable, event: AuditEvent) -> None:
        """Take an event that comes again and again under the same key; see :mod:`vna.security.audit_repeats`."""

    def close(self) -> None:
        """Make durable what was taken."""


class NoTrail:
    """Keeps nothing: the trail is switched off."""

    def record(self, event: AuditEvent) -> None:
        """Do nothing."""

    def repeated(self, key: Hashable, event: AuditEvent) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class AuditTrail:
    """Appends events to the local audit log, from a thread of its own that starts with the first event.

    Parameters
    ----------
    folder
        The local audit log.
    on_lost
        Told how many events could not be kept, since the disk took none for too long.
    seconds
        How long repeated events are held to be added up.
    """

    def __init__(
        self, folder: Path, on_lost: Callable[[int], None] = lambda _count: None, *, seconds: float = 60.0
    ) -> None:
        self._writer = JournalWriter(folder)
        self._on_lost = on_lost
        self._repeats = Repeats(seconds)
        self._waiting: list[AuditEvent] = []
        self._lost = 0
        self._more = threading.Condition()
        self._stop = False
        self._thread: threading.Thread | None = None

    def record(self, event: AuditEvent) -> None:
        """Take an event."""
        with self._more:
            self._take([event])

    def repeated(self, key: Hashable, event: AuditEvent) -> None:
        """Take an event of which many come."""
        with self._more:
            self._take(self._repeats.add(key, event))

    def _take(self, events: list[AuditEvent]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()
        quiet = not self._waiting
        for event in events:
            if len(self._waiting) < _MOST:
                self._waiting.append(event)
            else:
                self._lost += 1
        if quiet:
            self._more.notify()

    def _run(self) -> None:
        unsynced = 0.0
        while True:
            batch, stop = self._next(unsynced)
            if batch and not self._written(batch):
                if stop:
                    log.error("audit: %d events could not be written", len(batch))
                    return
                time.sleep(_RETRY_SECONDS)
                continue
            now = time.monotonic()
            if batch and not unsynced:
                unsynced = now + _SYNC_SECONDS
            if unsynced and (stop or now >= unsynced):
                self._sync()
                unsynced = 0.0
            if stop and not batch:
                self._writer.close()
                return

    def _next(self, unsynced: float) -> tuple[list[AuditEvent], bool]:
        """Wait for events, or for the time to sync or to add up; return what is to be written."""
        with self._more:
            if not self._waiting and not self._stop:
                waits = [max(0.0, unsynced - time.monotonic())] if unsynced else []
                waits += [1.0] if self._repeats.waiting else []
                self._more.wait(min(waits) if waits else None)
            if self._waiting and not self._stop:
                self._more.wait(_LINGER_SECONDS)
            batch, self._waiting = self._waiting, []
            batch += self._repeats.due(everything=self._stop)
            if self._lost and batch:
                batch.append(_lost(self._lost))
                self._on_lost(self._lost)
                self._lost = 0
            return batch, self._stop

    def _written(self, batch: list[AuditEvent]) -> bool:
        try:
            self._writer.write(batch)
        except OSError as error:
            log.error("audit: cannot write the local audit log: %s", error)  # noqa: TRY400 - no traceback each second
            with self._more:
                room = max(0, _MOST - len(self._waiting))
                self._lost += max(0, len(batch) - room)
                self._waiting[:0] = batch[:room]
            return False
        return True

    def _sync(self) -> None:
        try:
            self._writer.sync()
        except OSError as error:
            log.error("audit: cannot sync the local audit log: %s", error)  # noqa: TRY400 - as above

    def close(self) -> None:
        """Write and sync what waits, then end the thread."""
        with self._more:
            self._stop = True
            self._more.notify()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)


def _lost(count: int) -> AuditEvent:
    detail = f"{count} events are lost: the local audit log could not be written"
    return AuditEvent(
        Kind.SECURITY_ALERT, "E", (Participant("audit"),), Outcome.SERIOUS_FAILURE, target="audit", detail=detail
    )
