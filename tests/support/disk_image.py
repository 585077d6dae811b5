"""A file system in an image whose power can be cut: the image as it is at a moment, with nothing flushed."""

from __future__ import annotations

import contextlib
import filecmp
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.crash_states import copy_sparse
from tests.support.marks import Marks, listen
from tests.support.mounts import Loop, make_file_system, mount, unmount
from tests.support.recorded_disk import SIZES

_TRIES = 50


class DiskImage:
    """The file system, mounted at ``folder/mnt``; marks are kept in memory."""

    def __init__(self, folder: Path, kind: str = "ext4", size: int = 0) -> None:
        self.kind = kind
        self.path = folder / "mnt"
        self.path.mkdir(parents=True)
        self.control = folder / "control"
        self._image = folder / "disk.img"
        self._noted: list[str] = []
        self._one = threading.Lock()
        with self._image.open("wb") as file:
            file.truncate(size or SIZES[kind])
        make_file_system(kind, str(self._image))
        self._loop = Loop(self._image)
        mount(self._loop.path, self.path, kind)
        self._listener = listen(self.control, self._obey)
        self.marks = Marks(self.control)

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._one:
            self._noted.append(order["text"])
            return {"count": len(self._noted)}

    def cut(self, to: Path, processes: Sequence[subprocess.Popen[bytes]] = ()) -> list[str]:
        """Stop processes, copy the disk as it is, and return the marks made until then.

        What the kernel writes back meanwhile changes the image while it is copied. Two copies that are equal are the
        disk as it was between them.
        """
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        with self._one:
            marks = list(self._noted)
        other = to.with_suffix(".other")
        copy_sparse(self._image, to)
        for _ in range(_TRIES):
            copy_sparse(self._image, other)
            if filecmp.cmp(to, other, shallow=False):
                other.unlink()
                return marks
            os.replace(other, to)
        raise AssertionError("the disk is never at rest")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            unmount(self.path, lazily=True)
        self._loop.detach()
        self.marks.close()
        self._listener.close()


@contextlib.contextmanager
def disk_image(folder: Path, kind: str = "ext4", size: int = 0) -> Iterator[DiskImage]:
    disk = DiskImage(folder, kind, size)
    try:
        yield disk
    finally:
        disk.close()
