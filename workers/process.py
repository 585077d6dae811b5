"""What one worker process holds: its archive and its committer, made after the fork."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from celery import signals
from celery.exceptions import SoftTimeLimitExceeded

from vna.bootstrap import Archive
from vna.config import Settings
from vna.ingest.commit import Committer
from vna.ingest.journal import Journal
from vna.ingest.sweep import Sweeper

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The parts that tasks use."""

    archive: Archive
    committer: Committer
    sweeper: Sweeper
    journal: Journal


class WorkerProcess:
    """Makes the parts when Celery has forked a process, and closes them when it ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: WorkerParts | None = None
        # Celery keeps weak references: these methods live as long as the app that holds this object.
        signals.worker_process_init.connect(self._start)
        signals.worker_process_shutdown.connect(self._stop)
        signals.worker_shutdown.connect(self._stop)

    @property
    def parts(self) -> WorkerParts:
        """The parts, made now if Celery did not say that the process starts."""
        if self._parts is None:
            self._parts = self.make()
        return self._parts

    def make(self) -> WorkerParts:
        """Make the parts."""
        archive = Archive(self._settings)
        committer = archive.committer((SoftTimeLimitExceeded,))
        return WorkerParts(archive, committer, archive.sweeper, Journal(archive.spool))

    def _start(self, **_: Any) -> None:
        self._parts = None
        try:
            # A process starts when another one died, too: what that one had in hand goes on at once.
            self.parts.sweeper.recover()
        except Exception as error:  # noqa: BLE001 - the first task meets the same error, and can be retried
            log.warning("the worker process is not ready", error=str(error))

    def _stop(self, **_: Any) -> None:
        if self._parts is not None:
            with suppress(Exception):
                self._parts.committer.close()
                self._parts.archive.close()
            self._parts = None
