"""Tasks of the life of what is stored, and of the workers themselves."""

from __future__ import annotations

import json
import os

from celery import Celery

from vna.config import Settings
from vna.domain.origin import iso_utc, now_us
from workers.process import WorkerProcess
from workers.routing import HEARTBEAT_TASK


def register(app: Celery, process: WorkerProcess, settings: Settings) -> None:
    """Give the tasks to an app."""
    del process

    def heartbeat() -> None:
        # Went through beat, broker and worker: that it is young says more than any process id.
        settings.run_path.mkdir(parents=True, exist_ok=True)
        target = settings.run_path / "heartbeat.json"
        draft = target.with_name(f".heartbeat-{os.getpid()}")
        draft.write_text(json.dumps({"when": iso_utc(now_us()), "host": settings.host_id, "pid": os.getpid()}))
        os.replace(draft, target)

    app.task(name=HEARTBEAT_TASK)(heartbeat)
