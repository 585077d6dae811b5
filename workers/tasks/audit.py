"""Tasks of the audit trail."""

from __future__ import annotations

import structlog
from celery import Celery

from vna.domain.errors import ArchiveError
from workers.process import WorkerProcess
from workers.routing import SEAL_TASK

log = structlog.get_logger(__name__)


def register(app: Celery, process: WorkerProcess) -> None:
    """Give the tasks to an app."""

    def seal() -> None:
        archive = process.parts.archive
        try:
            sealed = archive.audit_sealer.seal()
            forwarder = archive.audit_forwarder
            sent = forwarder.forward() if forwarder is not None else 0
        except ArchiveError as error:
            # What is not done is kept, and done by the next one.
            log.warning("the audit trail waits", error=str(error))
            return
        if sent or (sealed is not None and sealed.records):
            log.info("audit", sealed=sealed.records if sealed else 0, sent=sent)

    app.task(name=SEAL_TASK, shared=False)(seal)
