"""A disk that writes down what it is told: one file by FUSE, to be put below a loop device.

``python -m tests.support.recorder_daemon FOLDER``: ``FOLDER/base.img`` is the disk as it is, ``FOLDER/fuse/disk.img``
the file, ``FOLDER/log`` what is written down, ``FOLDER/control`` the socket where marks are made, the disk is copied
and faults are ordered. One request is served at a time, so a copy of the disk is one of a moment.
"""

# ruff: noqa: ARG002  # FUSE passes a path and a handle to each call; here is but one file

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfusepy

from tests.support.disk_log import FLUSH, MARK, WRITE, encode
from tests.support.marks import listen

_NAME = "/disk.img"


@dataclass
class Faults:
    """What is to go wrong: how many more times (-1: for ever), and which bytes cannot be read."""

    write: int = 0
    flush: int = 0
    # Writes to let pass before the first that fails.
    after: int = 0
    unreadable: list[tuple[int, int]] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=lambda: {"write": 0, "flush": 0, "read": 0})

    def strike(self, what: str) -> bool:
        left = getattr(self, what)
        if left and self.after:
            self.after -= 1
            return False
        if left:
            setattr(self, what, left - 1 if left > 0 else left)
            self.told[what] += 1
        return bool(left)


class RecordedFile(mfusepy.Operations):
    """The file. Its writes go into the image and into the log; a failed one goes into neither."""

    use_ns = True

    def __init__(self, folder: Path) -> None:
        self._image = os.open(folder / "base.img", os.O_RDWR | os.O_CLOEXEC)
        self._path = folder / "base.img"
        self._size = os.fstat(self._image).st_size
        self._log = (folder / "log").open("ab", buffering=1 << 20)
        self._one = threading.Lock()
        self._faults = Faults()
        self._count = 0

    # What FUSE asks for.

    def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path != _NAME:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._size}

    def readdir(self, path: str, fh: Any) -> list[str]:
        return [".", "..", _NAME[1:]]

    def open(self, path: str, fi: Any) -> int:
        # Nothing stays in a cache between the file system and this.
        fi.direct_io = 1
        return 0

    def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
        with self._one:
            for begin, end in self._faults.unreadable:
                if offset < end and begin < offset + size:
                    self._faults.told["read"] += 1
                    raise mfusepy.FuseOSError(errno.EIO)
            return os.pread(self._image, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
        with self._one:
            if self._faults.strike("write"):
                raise mfusepy.FuseOSError(errno.EIO)
            os.pwrite(self._image, data, offset)
            self._note(WRITE, offset, data)
            return len(data)

    def fsync(self, path: str, datasync: int, fh: Any) -> int:
        with self._one:
            if self._faults.strike("flush"):
                raise mfusepy.FuseOSError(errno.EIO)
            self._note(FLUSH, 0, b"")
            return 0

    def flush(self, path: str, fh: Any) -> int:
        return 0  # of close(2), which makes nothing durable

    def _note(self, kind: int, offset: int, data: bytes) -> None:
        self._log.write(encode(kind, offset, data))
        self._count += 1

    # What a test asks for.

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._one:
            match order["do"]:
                case "mark":
                    self._note(MARK, 0, order["text"].encode())
                case "copy":
                    command = ["cp", "--sparse=always", str(self._path), order["to"]]
                    subprocess.run(command, check=True)
                    self._log.flush()
                case "sync":
                    self._log.flush()
                case "faults":
                    told = self._faults.told
                    self._faults = Faults(**order["faults"], told=told)
                case "ruin":
                    # Sectors of a file that cannot be read any more, some of those that hold anything.
                    source = random.Random(order["seed"])
                    self._faults.unreadable = [
                        (start, start + 512)
                        for begin, end in order["ranges"]
                        for start in range(begin, end, 512)
                        if source.random() < order["share"]
                    ]
            return {"count": self._count, "told": self._faults.told}


def main() -> None:
    folder = Path(sys.argv[1])
    file = RecordedFile(folder)
    listen(folder / "control", file.obey)
    mfusepy.FUSE(file, str(folder / "fuse"), raw_fi=True, foreground=True, nothreads=True, fsname="recorded-disk")


if __name__ == "__main__":
    main()
