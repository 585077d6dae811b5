"""How workers and beat are started. Imports nothing of Celery: the supervisor, which calls this, stays small."""

from __future__ import annotations

import sys
from pathlib import Path

from vna.config import Settings
from workers.routing import queue_names


def worker_command(
    settings: Settings, name: str = "worker", *, concurrency: int = 1, queues: list[str] | None = None
) -> list[str]:
    """Return the command that starts a worker of these settings, which it reads from its environment."""
    return [
        *_celery("workers.app", "worker"),
        *("--queues", ",".join(queues or queue_names(settings))),
        *("--concurrency", str(concurrency)),
        *("--hostname", f"{name}@{settings.host_id}"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        *("--loglevel", settings.log.level),
    ]


def beat_command(settings: Settings) -> list[str]:
    """Return the command that starts the one beat of a spool."""
    # No pid file: after a crash a foreign process may have the number, and beat would refuse to start.
    return [
        *_celery("workers.beat", "beat"),
        *("--schedule", str(Path(settings.run_path / "beat-schedule").resolve())),
        "--pidfile=",
        *("--loglevel", settings.log.level),
    ]


def _celery(app: str, command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--quiet", "--app", app, command]
