"""A real Celery worker in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from vna.config import Settings
from workers.commands import beat_command, worker_command

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], bool], seconds: float = 60, what: str = "") -> None:
    """Wait for a condition; the machine may be slow, so the time is generous."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what or condition}")
        time.sleep(0.05)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a process these settings."""
    spool = settings.spool
    return os.environ | {
        "VNA_DATA": str(settings.data),
        "VNA_HOST_ID": "test",
        "VNA_QUEUE__BROKER": settings.queue.broker,
        "VNA_QUEUE__TIMEOUT_SECONDS": str(settings.queue.timeout_seconds),
        "VNA_SPOOL__MIN_FREE_BYTES": str(spool.min_free_bytes),
        "VNA_SPOOL__SWEEP_SECONDS": str(spool.sweep_seconds),
        "VNA_SPOOL__SWEEP_AGE_SECONDS": str(spool.sweep_age_seconds),
        "VNA_SPOOL__MAX_ATTEMPTS": str(spool.max_attempts),
        "VNA_SPOOL__ID": spool.id,
        "PYTHONWARNINGS": "default",
    }


class Running:
    """A process with a log, ended at the end of the block."""

    def __init__(self, command: list[str], settings: Settings, log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment(settings), stdout=file, stderr=file, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """End it as a supervisor does: politely, then by force; return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                return self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """Kill it and its children at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def children(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]

    def logged(self) -> str:
        return self.log.read_text(errors="replace")


def start_worker(settings: Settings, *more: str, module: str = "workers.app", name: str = "worker") -> Running:
    """Start a worker and return when it consumes."""
    settings.data.mkdir(parents=True, exist_ok=True)
    command = [part if part != "workers.app" else module for part in worker_command(settings, name)]
    log = settings.data / f"{name}.log"
    before = log.stat().st_size if log.exists() else 0
    running = Running([*command, *more], settings, log)
    try:
        wait_until(lambda: "ready." in running.logged()[before:], what="the worker to be ready")
    except AssertionError as error:
        running.kill()
        raise AssertionError(running.logged()[-5000:]) from error
    return running


def start_beat(settings: Settings) -> Running:
    settings.run_path.mkdir(parents=True, exist_ok=True)
    return Running(beat_command(settings), settings, settings.data / "beat.log")
