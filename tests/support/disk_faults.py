"""Faults of the machine below an archive that works: each is a name, and what it does to the disk and the processes.

After each the power goes, or all processes are killed, and what was acknowledged must be there at the next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.crash_judge import judge
from tests.support.crash_settings import BALLAST, DATA
from tests.support.crash_states import copy_sparse
from tests.support.crash_workloads import SETTLE, WORKLOADS, Parts, join, play, running, send
from tests.support.disk_log import DiskLog
from tests.support.mounts import unmount
from tests.support.recorded_disk import SIZES, RecordedDisk, recorded_disk

_PRELOAD = "/usr/lib/fiu"
# linux/fiemap.h: start, length, flags, mapped extents, room for extents; an extent is logical, physical, length, …
_FS_IOC_FIEMAP, _HEAD, _EXTENT = 0xC020660B, struct.Struct("<QQIIII"), struct.Struct("<3Q2QI3I")
_EXTENTS = 64
# What a preloaded library makes of calls of the program: the disk is full, errors, and short writes.
_CALLS = {
    "calls-full": ["enable_random name=posix/io/rw/pwrite,probability=0.1,failinfo=28"],
    "calls-fail": [
        "enable_random name=posix/io/rw/pwrite,probability=0.05,failinfo=5",
        "enable_random name=posix/io/sync/fdatasync,probability=0.05,failinfo=5",
        "enable_random name=posix/io/sync/fsync,probability=0.05,failinfo=5",
    ],
    "calls-short": [
        "enable_random name=posix/io/rw/pwrite/reduce,probability=0.3",
        "enable_random name=posix/io/rw/pwritev/reduce,probability=0.3",
    ],
}

Fault = Callable[[RecordedDisk, Parts, random.Random], None]


def _nothing(disk: RecordedDisk, parts: Parts, source: random.Random) -> None:
    """The power goes, that is all."""


def _kill(disk: RecordedDisk, parts: Parts, source: random.Random) -> None:
    source.choice(parts.processes()).kill()


def _disk(**faults: int) -> Fault:
    def strike(disk: RecordedDisk, parts: Parts, source: random.Random) -> None:
        disk.faults(**faults, after=source.choice([0, 0, 1, 2, 5]))

    return strike


def _full(disk: RecordedDisk, parts: Parts, source: random.Random) -> None:
    with (disk.path / BALLAST).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))
    with (disk.path / BALLAST).open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def _calls(name: str) -> Fault:
    def strike(disk: RecordedDisk, parts: Parts, source: random.Random) -> None:
        for process in parts.processes():
            orders = [word for each in _CALLS[name] for word in ("-c", each)]
            prefix = str(disk.folder / "fiu")
            subprocess.run(["fiu-ctrl", "-f", prefix, *orders, str(process.pid)], check=False, timeout=10)

    return strike


FAULTS: dict[str, Fault] = {
    "cut": _nothing,
    "kill": _kill,
    "write-fails-once": _disk(write=1),
    "write-fails": _disk(write=-1),
    "flush-fails-once": _disk(flush=1),
    "flush-fails": _disk(flush=-1),
    "full": _full,
    "unreadable": _nothing,
    **{name: _calls(name) for name in _CALLS},
}


@contextlib.contextmanager
def _preloaded(folder: Path) -> Iterator[None]:
    """Let processes that are started in a block obey ``fiu-ctrl``."""
    names = {
        "LD_PRELOAD": f"{_PRELOAD}/fiu_run_preload.so {_PRELOAD}/fiu_posix_preload.so",
        "FIU_CTRL_FIFO": str(folder / "fiu"),
        "FIU_ENABLE": "",
    }
    assert Path(_PRELOAD).is_dir(), "errors of system calls are made by libfiu: install fiu-utils"
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def suffer(folder: Path, fault: str, workload: str, kind: str, seed: int) -> list[str]:
    """Run an archive, let something happen to it and then the power fail; return what is wrong afterwards."""
    source = random.Random(seed)
    what = WORKLOADS[workload]
    with recorded_disk(folder / "disk", kind) as disk:
        if source.random() < 0.5:
            play(what, disk, seed, starts=1)
        with contextlib.ExitStack() as stack:
            if fault in _CALLS:
                stack.enter_context(_preloaded(disk.folder))
            parts = stack.enter_context(running(what, disk))
            join(send(what, disk, parts, f"{seed}.early", 0.5))
            time.sleep(source.choice([0, SETTLE]))
            send(what, disk, parts, f"{seed}.under-way", 4)
            time.sleep(source.uniform(0, 0.2))
            FAULTS[fault](disk, parts, source)
            send(what, disk, parts, f"{seed}.later", 1)
            time.sleep(source.uniform(0.1, 1.5))
            if fault == "unreadable":
                parts.end(signal.SIGKILL)
                return _unreadable(folder, disk, source)
            for process in parts.processes():
                process.send_signal(signal.SIGSTOP)
            disk.faults()
            end = disk.cut(folder / "cut.img")
        marks = DiskLog(disk.log).marks(end)
    found = []
    with judge(folder / "state.img", kind, SIZES[kind]) as judging:
        for boot in ("another", "same"):
            copy_sparse(folder / "cut.img", judging.image)
            if fault == "full":
                found += judging.judge(marks, boot, "start")
            found += [f"{boot} boot: {each}" for each in judging.judge(marks, boot)]
    return found


def _unreadable(folder: Path, disk: RecordedDisk, source: random.Random) -> list[str]:
    """Start on a disk some of whose sectors cannot be read, in the spool; then on one that can be read again."""
    files = [path for path in (disk.path / DATA / "spool").rglob("*") if path.is_file() and path.stat().st_size]
    os.sync()
    ranges = extents(source.choice(files))
    unmount(disk.path)
    end = disk.marks.ask(do="sync")["count"]
    marks = DiskLog(disk.log).marks(end)
    found = []
    with judge(disk.folder / "fuse" / "disk.img", disk.kind) as judging:
        share = source.choice([0.001, 0.02, 1])
        disk.marks.ask(do="ruin", ranges=ranges, share=share, seed=source.randrange(1 << 30))
        found += judging.judge(marks, "another", "start")
        disk.faults()
        found += judging.judge(marks, "another")
    return found


def extents(path: Path) -> list[tuple[int, int]]:
    """Return where on its disk a file lies, as ranges of bytes."""
    buffer = bytearray(_HEAD.pack(0, 1 << 62, 1, 0, _EXTENTS, 0) + bytes(_EXTENT.size * _EXTENTS))
    with path.open("rb") as file:
        fcntl.ioctl(file, _FS_IOC_FIEMAP, buffer)
    count = _HEAD.unpack_from(buffer)[3]
    found = []
    for number in range(count):
        _, physical, length, *_ = _EXTENT.unpack_from(buffer, _HEAD.size + number * _EXTENT.size)
        found.append((physical, physical + length))
    return found
