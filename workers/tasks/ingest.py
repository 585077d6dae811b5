"""Tasks of ingest: each calls one use case."""

from __future__ import annotations

import random
import time
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded

from vna import observability
from vna.config import Settings
from vna.domain.errors import ArchiveError
from vna.ingest.backlog import INGEST, LARGE, SignOfLife
from vna.ingest.hints import DEEPEST, INGEST_LARGE_TASK, INGEST_TASK
from vna.ingest.storing import CommitReport
from vna.ports.queue import Queue
from workers.process import WorkerProcess
from workers.routing import PROBE_TASK, SWEEP_TASK

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
        "held": len(report.held),
        "mended": len(report.mended),
    }
    for outcome, count in outcomes.items():
        observability.committed_total.labels(outcome).inc(count)
    observability.committed_bytes.inc(report.bytes)
    observability.commit_seconds.observe(seconds)


def _crowded(queue: Queue) -> bool:
    """Say whether so many messages wait for their next try that the sweeper shall go on with this one.

    A worker keeps what waits for its time, and the broker a copy: a night without a store must not fill either.
    """
    try:
        return queue.held() >= DEEPEST
    except ArchiveError:
        return True


def register(app: Celery, process: WorkerProcess, settings: Settings) -> None:
    """Give the tasks to an app."""
    signs = {part: SignOfLife(settings.run_path, part, settings.host_id) for part in (INGEST, LARGE)}
    part_of = {INGEST_TASK: INGEST, INGEST_LARGE_TASK: LARGE}

    def commit(self: Task[Any, Any], names: list[str]) -> None:
        signs[part_of[self.name]].give()
        try:
            _commit(self, names)
        finally:
            signs[part_of[self.name]].give()

    def _commit(self: Task[Any, Any], names: list[str]) -> None:
        begin = time.monotonic()
        # Delivered again, since it takes longer than the broker waits, or sent again: somebody is at it.
        in_hand = process.parts.journal.in_hand()
        mine = [name for name in names if name not in in_hand]
        if not mine:
            log.info("another worker is at it", entries=len(names))
            return
        try:
            report = process.parts.committer.commit(mine)
        except SoftTimeLimitExceeded:
            log.exception("a batch took too long", entries=len(names), seconds=round(time.monotonic() - begin))
            return  # what is not done is in the spool; the sweeper goes on with it
        except ArchiveError as error:
            last = self.request.retries >= _RETRIES or _crowded(process.parts.archive.queue)
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

    def probe(part: str) -> None:
        signs[part].give()

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

    app.task(name=INGEST_TASK, bind=True, shared=False)(commit)
    app.task(name=INGEST_LARGE_TASK, bind=True, shared=False)(commit)
    app.task(name=SWEEP_TASK, shared=False)(sweep)
    app.task(name=PROBE_TASK, shared=False)(probe)
