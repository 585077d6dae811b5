"""Files and folders that are durable: one way to do each."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path


def sync_folder(folder: Path | str) -> None:
    """Make the names in a folder durable; raises ``OSError``."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        # XFS that could not write its journal, for the sake of another sync, has shut itself down and forgotten the
        # names, and lets this sync succeed. To look for a name that it does not know fails then.
        with suppress(FileNotFoundError):
            os.stat(os.urandom(8).hex(), dir_fd=fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable; raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def make_durable_folder(folder: Path) -> None:
    """Make a folder with its parents, each one's name durable: an entry is no safer than its folder."""
    if folder.is_dir():
        return
    make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    try:
        sync_folder(folder.parent)
    except OSError:
        # It is told once: whoever finds the folder later would believe that its name is durable.
        with suppress(OSError):
            folder.rmdir()
        raise


def write_durably(path: Path, data: bytes) -> None:
    """Put a file over an older one, if there is one: a reader, and a power cut, find the one or the other, whole.

    Raises ``OSError``; the older one is there then.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
    sync_folder(path.parent)


def remove_unlocked(path: Path) -> None:
    """Remove a file unless a living process holds it by a lock; raises ``OSError``."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | bytearray | memoryview, position: int) -> None:
    """Write all of some bytes at a position, however little the kernel takes at once; raises ``OSError``."""
    done = os.pwrite(fd, data, position)
    if done == len(data):
        return
    view = memoryview(data)
    while done < len(view):
        count = os.pwrite(fd, view[done:], position + done)
        if not count:
            raise OSError(errno.EIO, "nothing more is taken")
        done += count
