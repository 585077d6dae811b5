"""Runs the parts of an embedded archive as child processes: starts, watches, restarts, stops."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from vna.domain.errors import UnavailableError

_RESTART_FIRST = 1.0
_RESTART_MOST = 30.0
_HEALTHY_AFTER = 60.0


@dataclass(slots=True)
class Part:
    """One child process.

    Attributes
    ----------
    name
        What a person calls it.
    command
        Program and arguments.
    ready
        Called until it returns ``True``.
    stop_seconds
        How long it may take to end after SIGTERM; then it is killed.
    nice
        Niceness, so that the parts that answer clients come first (0 to 19).
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool] = field(default=lambda: True)
    stop_seconds: float = 15.0
    nice: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = _RESTART_FIRST
    restart_at: float = 0.0


class Supervisor:
    """Starts parts together, restarts what dies (with growing pauses), stops in reverse order.

    Parameters
    ----------
    parts
        The last is stopped first.
    logs
        Folder for one log file a part.
    say
        Called with ``(part name, line)`` for each line that a part writes.
    environment
        Environment of the children.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        say: Callable[[str, str], None],
        environment: dict[str, str],
    ) -> None:
        self._parts = list(parts)
        self._logs = logs
        self._say = say
        self._environment = environment
        self._stop = threading.Event()
        logs.mkdir(parents=True, exist_ok=True)

    def request_stop(self) -> None:
        """End :meth:`watch`; safe in a signal handler."""
        self._stop.set()

    def start(self, ready_seconds: float = 60.0) -> None:
        """Start every part and wait until it is ready.

        Raises
        ------
        UnavailableError
            A part ended or was not ready in time; what was started is stopped.
        """
        # All at once: each finds the others by itself when it needs them, and most of the time is their imports.
        for part in self._parts:
            self._launch(part)
        deadline = time.monotonic() + ready_seconds
        for part in self._parts:
            while not part.ready():
                assert part.process is not None
                code = part.process.poll()
                if code is not None or time.monotonic() > deadline:
                    self.stop()
                    what = f"ended with code {code}" if code is not None else f"was not ready in {ready_seconds:.0f} s"
                    raise UnavailableError(f"{part.name} {what}; see {self._logs / part.name}.log")
                if self._stop.wait(0.05):
                    return

    def _launch(self, part: Part) -> None:
        command = [sys.executable, "-m", "vna.cli.child", str(part.nice), *part.command]
        part.process = subprocess.Popen(  # noqa: S603  # commands are the archive's own
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            # A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops in order.
            start_new_session=True,
        )
        part.started = time.monotonic()
        assert part.process.stdout is not None
        threading.Thread(target=self._relay, args=(part.name, part.process.stdout), daemon=True).start()

    def _relay(self, name: str, stream: IO[bytes]) -> None:
        with (self._logs / f"{name}.log").open("ab", buffering=0) as log, stream:
            for line in stream:
                log.write(line)
                self._say(name, line.decode("utf-8", "replace").rstrip())

    def watch(self) -> None:
        """Restart what dies until :meth:`request_stop` is called."""
        while not self._stop.wait(0.5):
            now = time.monotonic()
            for part in self._parts:
                self._revive(part, now)

    def _revive(self, part: Part, now: float) -> None:
        if part.process is not None and part.process.poll() is not None:
            if now - part.started > _HEALTHY_AFTER:
                part.wait = _RESTART_FIRST
            self._say(
                "up", f"{part.name} ended with code {part.process.returncode}; starting it again in {part.wait:.0f} s"
            )
            part.process = None
            part.restart_at = now + part.wait
            part.wait = min(part.wait * 2, _RESTART_MOST)
        elif part.process is None and now >= part.restart_at:
            self._launch(part)

    def stop(self) -> None:
        """Stop every part, the last first; kill what does not end in its time."""
        for part in reversed(self._parts):
            process = part.process
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(part.stop_seconds)
            except subprocess.TimeoutExpired:
                self._say("up", f"{part.name} did not end in {part.stop_seconds:.0f} s; killed")
                process.kill()
                process.wait()
