"""A file system on a disk that records every write and flush, for real processes; marks tell what was acknowledged."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.marks import Marks
from tests.support.mounts import Loop, make_file_system, mount, unmount
from tests.support.ports import wait_until
from tests.support.worker import ROOT

SIZES = {"ext4": 192 << 20, "xfs": 320 << 20}


class RecordedDisk:
    """The disk, mounted at ``folder/mnt``. ``start.img`` is how it was when recording began, ``log`` what came then."""

    def __init__(self, folder: Path, kind: str = "ext4", size: int = 0) -> None:
        self.folder = folder
        self.kind = kind
        self.path = folder / "mnt"
        self.start = folder / "start.img"
        self.log = folder / "log"
        self.control = folder / "control"
        for made in (self.path, folder / "fuse"):
            made.mkdir(parents=True)
        with (folder / "base.img").open("wb") as image:
            image.truncate(size or SIZES[kind])
        make_file_system(kind, str(folder / "base.img"))
        command = ["cp", "--sparse=always", str(folder / "base.img"), str(self.start)]
        subprocess.run(command, check=True)
        with (folder / "daemon.log").open("wb") as log:
            command = [sys.executable, "-m", "tests.support.recorder_daemon", str(folder)]
            self._daemon = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_until(self._is_up, 20, "the recorded disk")
        self.marks = Marks(self.control)
        self._loop = Loop(folder / "fuse" / "disk.img")
        mount(self._loop.path, self.path, kind)

    def _is_up(self) -> bool:
        assert self._daemon.poll() is None, (self.folder / "daemon.log").read_text()
        return (self.folder / "fuse" / "disk.img").exists() and self.control.exists()

    def cut(self, to: Path) -> int:
        """Copy the disk as it is at this moment, nothing flushed; return how many events of the log came before."""
        return int(self.marks.ask(do="copy", to=str(to))["count"])

    def faults(self, **faults: Any) -> None:
        """Let writes or flushes fail from now on, or nothing: see :class:`tests.support.recorder_daemon.Faults`."""
        self.marks.ask(do="faults", faults=faults)

    def told(self) -> dict[str, int]:
        """Return how many errors the disk has told."""
        return dict(self.marks.ask(do="sync")["told"])

    def close(self) -> None:
        """End the recording. What the file system still writes as it is unmounted is recorded, too."""
        with contextlib.suppress(OSError):
            unmount(self.path)
        with contextlib.suppress(OSError):  # somebody is still there
            unmount(self.path, lazily=True)
        self._loop.detach()
        if self._daemon.poll() is None:
            with contextlib.suppress(OSError):
                self.marks.ask(do="sync")
            self._daemon.send_signal(signal.SIGTERM)
            try:
                self._daemon.wait(10)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        self.marks.close()
        with contextlib.suppress(OSError):
            unmount(self.folder / "fuse", lazily=True)


@contextlib.contextmanager
def recorded_disk(folder: Path, kind: str = "ext4", size: int = 0) -> Iterator[RecordedDisk]:
    disk = RecordedDisk(folder, kind, size)
    try:
        yield disk
    finally:
        disk.close()
