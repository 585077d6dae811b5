"""Tasks of storage commitment."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import structlog
from celery import Celery

from vna import observability
from vna.commitment.state import DECIDING
from vna.commitment.waiting import oldest_of
from vna.config import Settings
from vna.domain.errors import ArchiveError
from workers.process import WorkerProcess
from workers.routing import COMMITMENT_TASK, COMMITMENT_WATCH_TASK

log = structlog.get_logger(__name__)

_CLEAN_SECONDS = 86400.0


def register(app: Celery, process: WorkerProcess, settings: Settings) -> None:
    """Give the tasks to an app."""
    cleaned = [0.0]

    def deliver() -> None:
        try:
            done = process.parts.archive.commitment_deliverer.run()
            if time.monotonic() - cleaned[0] > _CLEAN_SECONDS or not cleaned[0]:
                cleaned[0] = time.monotonic()
                _clean()
        except ArchiveError as error:
            # The documents are the state: the next one goes on.
            log.warning("storage commitment waits", error=str(error))
            return
        observability.commitments_open.set(done.open - done.delivered - done.given_up)
        for outcome in ("decided", "delivered", "given_up", "not_told"):
            observability.commitments_total.labels(outcome).inc(getattr(done, outcome))
        if done.decided or done.delivered or done.given_up or done.not_told:
            log.info("storage commitment", **{name: getattr(done, name) for name in done.__slots__})

    def _clean() -> None:
        records = process.parts.archive.commitments.records
        records.sweep()
        if settings.commitment.keep_days:
            records.forget_before(datetime.now(UTC) - timedelta(days=settings.commitment.keep_days))

    def watch() -> None:
        archive = process.parts.archive
        commitments = archive.commitments
        try:
            wanted = any(state.phase == DECIDING for state in commitments.records.open())
            commitments.notes.write(settings.spool.id, oldest_of(archive.spool), wanted=wanted)
        except ArchiveError as error:
            log.warning("what is in the spool is not written down", error=str(error))

    app.task(name=COMMITMENT_TASK, shared=False)(deliver)
    app.task(name=COMMITMENT_WATCH_TASK, shared=False)(watch)
