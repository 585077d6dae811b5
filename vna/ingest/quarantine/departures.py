"""Entries that are leaving quarantine: nobody may count on them any more.

Who takes one out marks it first, and holds the mark by a lock that the kernel
lifts when the process dies. From then on the same bytes that come again, be it
from a sender or as what was just given back, are an entry of their own. A mark
that nobody holds is of a process that died: the entry is still here, and stays,
or it is gone and its copies in the object store are still to be removed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vna.domain.errors import ConflictError
from vna.files import make_durable_folder, sync_folder


class Departures:
    """The marks of one quarantine, and the lock under which it is decided on what is here.

    Parameters
    ----------
    lock
        File of the lock. It is held for what takes no long time, never while the object store is asked.
    folder
        Folder of the marks.
    """

    def __init__(self, lock: Path, folder: Path) -> None:
        self._lock = lock
        self._folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process, and thread, from deciding meanwhile; raises ``OSError``."""
        fd = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def leaves(self, name: str) -> bool:
        """Whether an entry is marked. Good for as long as the lock is held."""
        return (self._folder / name).exists()

    @contextmanager
    def taking(self, name: str) -> Iterator[None]:
        """Mark an entry, durably, and hold the mark; it stays until :meth:`settle`.

        Raises
        ------
        ConflictError
            Somebody else holds it.
        OSError
            It cannot be marked.
        """
        with self.locked():
            make_durable_folder(self._folder)
            fd = os.open(self._folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                sync_folder(self._folder)
            except BaseException as error:
                os.close(fd)
                if isinstance(error, BlockingIOError):
                    raise ConflictError("somebody else takes this entry out of quarantine just now") from error
                raise
        try:
            yield
        finally:
            os.close(fd)

    def settle(self, name: str) -> None:
        """Remove the mark of an entry that stays, or of which nothing is left; raises ``OSError``."""
        with self.locked():
            (self._folder / name).unlink(missing_ok=True)

    def marked(self) -> list[str]:
        """Return the entries that are marked."""
        try:
            return sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
