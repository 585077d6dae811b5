"""Peak memory of every process of a running archive."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.archive import RunningArchive

_MARKS = {
    "valkey-server": "valkey",
    " worker ": "worker",
    " beat ": "beat",
    "vna.gateways.dimse": "dimse",
    "vna.gateways.dicomweb": "http",
}


def part_of(process: psutil.Process) -> str:
    """Return what part of the archive a process is; a worker's children are told apart from the worker."""
    line = " ".join(process.cmdline())
    name = next((name for mark, name in _MARKS.items() if mark in line), "other")
    if name in {"worker", "dimse", "http"} and line == " ".join((process.parent() or process).cmdline()):
        return f"{name} child"
    return name


def process_of(archive: RunningArchive) -> int:
    """Return the process id of the supervisor, below which all else runs."""
    assert archive._process is not None
    return archive._process.pid


class PeakMemory:
    """Samples the resident memory of a process and all below it, by part, until the end of the block.

    Attributes
    ----------
    idle
        Bytes by part when the block began.
    peak
        Most bytes seen, by part.
    """

    def __init__(self, pid: int, every: float = 0.05) -> None:
        self._root = psutil.Process(pid)
        self._every = every
        self._stop = threading.Event()
        self._names: dict[int, str] = {pid: "up"}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.idle: dict[str, int] = {}
        self.peak: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.idle = self._sample()
        self.peak = dict(self.idle)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                name = self._names.setdefault(process.pid, part_of(process))
                found[name] = max(found.get(name, 0), process.memory_info().rss)
            except psutil.Error:
                continue
        return found

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            for name, size in self._sample().items():
                self.idle.setdefault(name, size)
                self.peak[name] = max(self.peak.get(name, 0), size)


def own_peak() -> int:
    """Return the peak resident memory of this process, in bytes.

    Not ``ru_maxrss``: that one counts the memory of the parent before this program was started.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
