"""The worker application with a reader that an object can kill, as a broken native decoder can be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from tests.support.killing import POISON
from vna.bootstrap import Archive
from vna.config import settings
from vna.ingest import document
from vna.ingest.commit import Committer
from vna.ingest.journal import Journal
from workers.app import make_app
from workers.process import WorkerParts, WorkerProcess


def build(path: Path, *rest: Any) -> document.Document:
    if POISON in path.read_bytes():
        # For the test to see who was taken along.
        with (settings().data / "killed.log").open("a") as log:
            log.write(f"{path.name}\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return document.build(path, *rest)


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
        return WorkerParts(archive, committer, archive.sweeper)


app = make_app(settings(), PoisonProcess(settings()))
