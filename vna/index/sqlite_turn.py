"""The queue of those who write to the SQLite index: threads of this process, and processes of this host."""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vna.domain.errors import UnavailableError

WAIT_SECONDS = 30.0
"""How long a writer waits for those before it: a batch takes some hundredths of a second."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.003
_HOLDER_BYTES = 20


class Turn:
    """A lock among threads and processes, in place of SQLite's busy handler.

    That one sleeps, ever longer: of several busy processes one can wait until
    its time is out. The kernel takes the lock from a process that dies, but not
    from one that is stopped: so whoever has it writes its process id into the
    file, and nobody waits for ever.

    Parameters
    ----------
    path
        The lock file, which is made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._fd = -1

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the lock; raises ``UnavailableError``, naming who has it, when it cannot be had in time."""
        deadline = time.monotonic() + WAIT_SECONDS
        if not self._threads.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError(f"another thread writes to the index for more than {WAIT_SECONDS:.0f} s")
        try:
            if self._fd < 0:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
            self._lock(deadline)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Close the lock file; the next one who wants the lock opens it again."""
        with self._threads:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _lock(self, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"{self._holder()} has had the index {self._path} locked for {WAIT_SECONDS:.0f} s"
                    ) from None
                # Different in each process, so that none is late for every gap between the turns of the others.
                time.sleep(random.uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE))  # noqa: S311 - spreads load, guards nothing
            else:
                os.pwrite(self._fd, f"{os.getpid():<{_HOLDER_BYTES}}".encode(), 0)
                return

    def _holder(self) -> str:
        text = os.pread(self._fd, _HOLDER_BYTES, 0).decode(errors="replace").strip()
        if not text.isdecimal():
            return "another process"
        return f"process {text}{' (which is stopped)' if _is_stopped(int(text)) else ''}"


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] in (["T"], ["t"])
