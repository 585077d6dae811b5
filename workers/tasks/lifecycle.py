"""Tasks of the life of what is stored, and of the workers themselves."""

from __future__ import annotations

import structlog
from celery import Celery

from vna import observability
from vna.config import Settings
from vna.domain.errors import ArchiveError
from vna.ingest.backlog import INGEST, KEEPER, LARGE, SignOfLife
from vna.ingest.hints import ingest_queue
from vna.lifecycle import scrub, tiers
from vna.lifecycle.verify import troubles
from workers.process import WorkerProcess
from workers.routing import HEARTBEAT_TASK, PROBE_TASK, SCRUB_TASK, TIERS_TASK, WORKLIST_TASK

log = structlog.get_logger(__name__)


def register(app: Celery, process: WorkerProcess, settings: Settings) -> None:
    """Give the tasks to an app."""
    sign = SignOfLife(settings.run_path, KEEPER, settings.host_id)

    def heartbeat() -> None:
        # Went through beat, broker and worker: that it is young says more than any process id.
        sign.give()
        queue = process.parts.archive.queue
        try:
            for part in (INGEST, LARGE):
                name = ingest_queue(settings.spool.id, large=part == LARGE)
                # Where messages wait, taking them up is a sign of life; a probe would wait behind them, and a
                # queue that nobody serves must not fill with probes.
                if not queue.depth(name):
                    queue.enqueue(PROBE_TASK, [part], name)
        except ArchiveError as error:
            log.warning("the workers of ingest were not asked for a sign of life", error=str(error))

    def count_tiers() -> None:
        try:
            found = tiers.advance(process.parts.archive.objects)
        except ArchiveError as error:
            # What was counted is kept; the next step goes on.
            log.warning("the count of the tiers waits", error=str(error))
            return
        if found is not None:
            log.info(
                "tiers counted", instances=found.instances, tiers=len(found.tiers), seconds=round(found.seconds, 1)
            )

    def verify_stored() -> None:
        rate = settings.store.verify_bytes_second
        if not rate:
            return
        archive = process.parts.archive
        try:
            report, ended = scrub.advance(archive.objects, archive.index, rate)
            observability.damaged_keys.set(len(troubles(archive.objects)))
        except ArchiveError as error:
            # The next step begins where this one did.
            log.warning("the verification of what is stored waits", error=str(error))
            return
        observability.verified_total.inc(report.objects)
        observability.verified_bytes.inc(report.bytes)
        for each in report.wrong:
            observability.damage_total.labels(each.wrong.value).inc()
        if ended is not None:
            log.info("all that is stored was verified", instances=ended.objects, bytes=ended.bytes)

    def expire_work_items() -> None:
        # Beat may know other settings than the worker: nothing is removed but by the worker's own.
        days = settings.worklist.keep_days
        if not days:
            return
        try:
            removed = process.parts.archive.worklist.remove_expired(days)
        except ArchiveError as error:
            log.warning("work items whose time is over stay for now", error=str(error))
            return
        if removed:
            log.info("worklist", removed=removed)

    app.task(name=HEARTBEAT_TASK, shared=False)(heartbeat)
    app.task(name=WORKLIST_TASK, shared=False)(expire_work_items)
    app.task(name=TIERS_TASK, shared=False)(count_tiers)
    app.task(name=SCRUB_TASK, shared=False)(verify_stored)
