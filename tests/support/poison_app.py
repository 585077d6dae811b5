"""The worker application with a reader that an object can kill or hang, as it can a broken native decoder."""

from __future__ import annotations

import os
import signal
import time

from celery.exceptions import SoftTimeLimitExceeded

from tests.support.killing import HANGS, HANGS_DEAF, POISON
from vna.bootstrap import Archive
from vna.config import settings
from vna.domain.file_range import FileRange
from vna.domain.origin import Origin
from vna.ingest import document, hints
from vna.ingest.commit import Committer
from vna.ingest.journal import Journal
from vna.queue import celery_queue
from workers.app import make_app
from workers.process import WorkerParts, WorkerProcess


def build(content: FileRange | bytes, digest: str, size: int, received_us: int, origin: Origin) -> document.Document:
    data = content if isinstance(content, bytes) else content.read()
    if POISON in data:
        # For the test to see who was taken along.
        with (settings().data / "killed.log").open("a") as log:
            log.write(f"{received_us}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if HANGS_DEAF in data:
        # As native code that never comes back to the interpreter: the soft limit's signal is not heard.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        time.sleep(600)
    if HANGS in data:
        time.sleep(600)
    return document.build(content, digest, size, received_us, origin)


class PoisonProcess(WorkerProcess):
    """A worker process whose committer reads with :func:`build`."""

    def make(self) -> WorkerParts:
        archive = Archive(settings())
        committer = Committer(
            archive.spool,
            archive.objects,
            archive.index,
            Journal(archive.spool),
            archive.quarantine,
            max_attempts=settings().spool.max_attempts,
            build=build,
            interrupts=(SoftTimeLimitExceeded,),
        )
        return WorkerParts(archive, committer, archive.sweeper, Journal(archive.spool))


app = make_app(settings(), PoisonProcess(settings()))
if os.environ.get("TEST_SHORT_LIMITS"):
    # For what this process sends again; what the test sends has its own.
    hints.BASE_SECONDS = 1.0
    celery_queue.GRACE_SECONDS = 2.0
