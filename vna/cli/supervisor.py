"""Runs the parts of an embedded archive as child processes: starts, watches, restarts, stops."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from vna.cli.rotating import RotatingLog
from vna.domain.errors import UnavailableError
from vna.stopping import Stop

_RESTART_FIRST = 1.0
_RESTART_MOST = 30.0
_HEALTHY_AFTER = 60.0
_LAST_LINES = 8


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
    when_orphaned
        What it gets if the supervisor dies: SIGTERM, to end in order, or SIGKILL for one that has nothing to
        finish, or that does not always heed SIGTERM.
    on_console
        Whether its lines are for a person to see, or for its file alone.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], bool] = field(default=lambda: True)
    stop_seconds: float = 15.0
    nice: int = 0
    when_orphaned: signal.Signals = signal.SIGTERM
    on_console: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = _RESTART_FIRST
    restart_at: float = 0.0
    relay: threading.Thread | None = None
    said: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))


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
    stop
        Ends :meth:`watch`, and a start that is under way.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        logs: Path,
        say: Callable[[str, str], None],
        environment: dict[str, str],
        stop: Stop,
    ) -> None:
        self._parts = list(parts)
        self._logs = logs
        self._say = say
        self._environment = environment
        self._stop = stop
        logs.mkdir(parents=True, exist_ok=True)

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
                    raise UnavailableError(f"{part.name} {what}{self._last_words(part)}")
                if self._stop.wait(0.05):
                    return

    def _launch(self, part: Part) -> None:
        command = [sys.executable, "-m", "vna.cli.child", str(part.nice), str(int(part.when_orphaned)), *part.command]
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
        part.said.clear()
        assert part.process.stdout is not None
        part.relay = threading.Thread(target=self._relay, args=(part, part.process.stdout), daemon=True)
        part.relay.start()

    def _relay(self, part: Part, stream: IO[bytes]) -> None:
        log = RotatingLog(self._logs / f"{part.name}.log")
        with closing(log), stream:
            for line in stream:
                log.write(line)
                text = line.decode("utf-8", "replace").rstrip()
                if not text:
                    continue
                part.said.append(text)
                if part.on_console:
                    self._say(part.name, text)

    def _last_words(self, part: Part) -> str:
        """Return the end of what a part said, for a person who sees no more than the error."""
        assert part.relay is not None
        part.relay.join(2)
        path = self._logs / f"{part.name}.log"
        said = "".join(f"\n  {line}" for line in tuple(part.said))
        return f":{said}\nall of it is in {path}" if said else f"; it said nothing, see {path}"

    def watch(self) -> None:
        """Restart what dies until it is told to stop."""
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
