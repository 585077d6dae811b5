"""Tasks of ingest: each calls one use case."""

from __future__ import annotations

import random
import time
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded

from vna import observability
from vna.domain.errors import ArchiveError
from vna.ingest.commit import CommitReport
from vna.ingest.receive import INGEST_LARGE_TASK, INGEST_TASK
from workers.process import WorkerProcess
from workers.routing import SWEEP_TASK

log = structlog.get_logger(__name__)

# Retries of one message; past them the sweeper goes on, at its own pace.
_RETRIES = 5
_LONGEST_WAIT = 60


def backoff(retries: int) -> float:
    """Return the seconds to wait before the next try: 2, 4, 8 … with a quarter of jitter."""
    wait = float(min(_LONGEST_WAIT, 2 ** (retries + 1)))
    return wait * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing


def _count(report: CommitReport, seconds: float) -> None:
    outcomes = {
        "stored": report.stored,
        "duplicate": report.duplicates,
        "conflict": report.conflicts,
        "quarantined": len(report.quarantined),
        "failed": len(report.failed),
    }
    for outcome, count in outcomes.items():
        observability.committed_total.labels(outcome).inc(count)
    observability.committed_bytes.inc(report.bytes)
    observability.commit_seconds.observe(seconds)


def register(app: Celery, process: WorkerProcess) -> None:
    """Give the tasks to an app."""

    def commit(self: Task[Any, Any], names: list[str]) -> None:
        begin = time.monotonic()
        try:
            report = process.parts.committer.commit(names)
        except SoftTimeLimitExceeded:
            log.exception("a batch took too long", entries=len(names), seconds=round(time.monotonic() - begin))
            return  # what is not done is in the spool; the sweeper goes on with it
        except ArchiveError as error:
            last = self.request.retries >= _RETRIES
            log.warning("a batch waits", entries=len(names), error=str(error), left_to_sweeper=last)
            if last:
                return
            raise self.retry(exc=error, countdown=backoff(self.request.retries), max_retries=_RETRIES + 1) from error
        seconds = time.monotonic() - begin
        _count(report, seconds)
        log.info(
            "committed",
            stored=report.stored,
            duplicates=report.duplicates,
            conflicts=report.conflicts,
            quarantined=len(report.quarantined),
            failed=len(report.failed),
            gone=report.gone,
            bytes=report.bytes,
            seconds=round(seconds, 3),
        )

    def sweep() -> None:
        report = process.parts.sweeper.sweep()
        if report is None:
            return
        observability.sweep_sent_total.inc(report.sent)
        observability.worker_deaths_total.inc(report.deaths)
        observability.spool_entries.set(report.entries)
        observability.spool_oldest_seconds.set(report.oldest_seconds)
        if report.sent or report.deaths or report.torn or report.waiting:
            log.info("swept", **{name: getattr(report, name) for name in report.__slots__})

    app.task(name=INGEST_TASK, bind=True)(commit)
    app.task(name=INGEST_LARGE_TASK, bind=True)(commit)
    app.task(name=SWEEP_TASK)(sweep)
