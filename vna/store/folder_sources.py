"""Files that are put by a hard link, where that may be believed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from vna.domain.errors import NotFoundError
from vna.domain.file_range import FileRange
from vna.ports.objects import Put

_MARK = "user.vna.not-synced"
_MOST = 10_000


def linkable(put: Put) -> FileRange | None:
    """Return the file that may be linked for a put, as a range; ``None`` if its bytes are to be copied.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    if isinstance(put.source, Path):
        # Of a symbolic link the bytes are kept, not the link.
        found = os.lstat(put.source)
        if stat.S_ISREG(found.st_mode):
            return FileRange(put.source, 0, found.st_size)
    elif isinstance(put.source, FileRange) and put.linkable and put.source.offset == 0:
        found = os.lstat(put.source.path)
        if stat.S_ISREG(found.st_mode) and found.st_size == put.source.length:
            return put.source
    return None


def as_range(put: Put) -> FileRange:
    """Return the bytes of a file source as a range; raises ``FileNotFoundError``."""
    if isinstance(put.source, FileRange):
        return put.source
    assert isinstance(put.source, Path)
    return FileRange(put.source, 0, put.source.stat().st_size)


def no_source(put: Put) -> NotFoundError:
    """Return the error for a source that is gone."""
    path = put.source.path if isinstance(put.source, FileRange) else put.source
    return NotFoundError(f"there is no file {path!s} to put")


class FailedSyncs:
    """Files whose sync failed once, in any process of this host.

    The kernel tells of a failed write-back once and then takes the pages for written: the next sync says yes, and
    the bytes are in memory alone. So such a file is never linked, its bytes are copied. The note is an attribute of
    the file; where the file system has none, it is this process's own. A restart of the host ends both the
    note's worth and what it warns of.
    """

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()

    def note(self, descriptor: int) -> None:
        """Note that a sync of an open file failed."""
        found = os.fstat(descriptor)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known.add((found.st_dev, found.st_ino))
        with suppress(OSError):
            os.setxattr(descriptor, _MARK, b"1")

    def has(self, descriptor: int) -> bool:
        """Whether a sync of an open file has failed before."""
        with suppress(OSError):
            os.getxattr(descriptor, _MARK)
            return True
        if not self._known:
            return False
        found = os.fstat(descriptor)
        return (found.st_dev, found.st_ino) in self._known
