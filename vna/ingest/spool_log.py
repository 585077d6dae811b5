"""The spool's log: makes small instances durable without a commit of the file system's journal.

To make a new file durable the file system commits its journal, together with
whatever else is under way in it, the workers' files for instance. Bytes that
overwrite blocks which are allocated and written already need no commit. So a
gateway copies each small instance into a segment, a file that is written full
of zeros beforehand and used again and again, and syncs that; the instance's own
file, which the workers take, follows at the file system's leisure.

A segment may be used again when everything that it holds is durable elsewhere,
which one ``syncfs`` in the background sees to; one that has not been written to
for a while is seen to as well, so that what it holds is soon no concern of a
power cut. After a power cut the files may be short or gone: whoever opens the
spool next writes them anew from the segments. After the death of a process
alone, nothing is lost from the page cache, so a ``syncfs`` does.

To write a segment full of zeros takes as long as to receive as many bytes, so
segments are made ahead, in the background, and outlive their process: one that
holds nothing and has no owner is called ``free-…``, and the next process takes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vna.ingest.spool_segment import (
    FREE,
    NAME_MOST,
    PAGE,
    Segment,
    boot_identity,
    boot_of,
    new_name,
    records,
    set_free,
    space_of,
)

_RETRY_SECONDS = 10.0


class SpoolLog:
    """The log of one process. Safe for use by many threads; makes nothing before the first append or :meth:`prepare`.

    Parameters
    ----------
    folder
        Where the segments are; made beforehand.
    sync_all
        Makes everything in the spool's file system durable.
    sync_folder
        Makes the names in ``folder`` durable.
    segment_bytes, most
        Size of a segment, and how many there are at most.
    rest_seconds
        How long a segment that holds something may lie before it is seen to.
    """

    def __init__(
        self,
        folder: Path,
        sync_all: Callable[[], None],
        sync_folder: Callable[[Path], None],
        *,
        segment_bytes: int = 64 << 20,
        most: int = 4,
        rest_seconds: float = 30.0,
    ) -> None:
        self._folder = folder
        self._sync_all = sync_all
        self._sync_folder = sync_folder
        self._size = segment_bytes
        self._most = most
        self._rest = rest_seconds
        self._lock = threading.Condition()
        self._current: Segment | None = None
        self._free: list[Segment] = []
        self._full: list[Segment] = []
        self._keeper: threading.Thread | None = None
        self._wait_first = 0.0
        self._no_room_until = 0.0
        self._closed = False

    def prepare(self, after_seconds: float = 0.0) -> None:
        """Have segments made in the background, before the first append needs one; later, not to delay a start."""
        with self._lock:
            self._wait_first = after_seconds
            self._keep()

    def append(self, name: str, fd: int, length: int, checksum: int) -> bool:
        """Copy an entry's bytes into the log, and return when they are durable there.

        Parameters
        ----------
        name
            Name of the entry.
        fd, length, checksum
            Its file, open for reading, the number of its bytes, and their XXH3 (64 bits).

        Returns
        -------
        bool
            ``False`` if there is no room at present: the caller makes the file itself durable.

        Raises
        ------
        OSError
            The bytes are not durable.
        """
        label = name.encode()
        space = space_of(label, length)
        if space > self._size - PAGE or len(label) > NAME_MOST:
            return False
        with self._lock:
            segment = self._with_room(space)
            if segment is None:
                return False
            position = segment.position
            segment.position += space
            segment.users += 1
            generation = segment.generation
        try:
            segment.write(label, fd, length, checksum, generation=generation, position=position)
        finally:
            with self._lock:
                segment.users -= 1
                segment.used = time.monotonic()
                if segment is not self._current:
                    self._lock.notify_all()
        return True

    def _with_room(self, space: int) -> Segment | None:
        segment = self._current
        if segment is not None and segment.position + space <= segment.size:
            return segment
        if self._closed:
            return None
        if segment is not None:
            self._full.append(segment)
            self._current = None
        if self._free:
            self._current = self._free.pop()
        self._keep()
        return self._current

    # What the keeper does: it makes segments, and empties those that are full or at rest.

    def _keep(self) -> None:
        if self._keeper is None and not self._closed:
            self._keeper = threading.Thread(target=self._run, name="spool-log", daemon=True)
            self._keeper.start()
        self._lock.notify_all()

    def _run(self) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._closed, self._wait_first)
        while True:
            with self._lock:
                segment = self._next()
                while segment is None and not self._closed and not self._lacking():
                    self._lock.wait(self._rest / 2)
                    segment = self._next()
                if self._closed:
                    return
            try:
                if segment is None:
                    segment = self._make()
                    with self._lock:
                        self._free.append(segment)
                    continue
                self._sync_all()
                segment.renew()
            except Exception:  # noqa: BLE001 - a full one stays full; entries take the longer way meanwhile
                with self._lock:
                    if segment is None:  # a short disk may still have room for the instances themselves
                        self._no_room_until = time.monotonic() + _RETRY_SECONDS
                    self._lock.wait(1)
                continue
            with self._lock:
                self._full.remove(segment)
                self._free.append(segment)

    def _lacking(self) -> bool:
        count = len(self._full) + len(self._free) + (self._current is not None)
        return count < self._most and self._size > PAGE and time.monotonic() > self._no_room_until

    def _next(self) -> Segment | None:
        """Return a segment that must be emptied and has no users."""
        current = self._current
        if (
            current is not None
            and not current.users
            and current.position > PAGE
            and time.monotonic() - current.used > self._rest
        ):
            self._full.append(current)
            self._current = None
        return next((segment for segment in self._full if not segment.users), None)

    def _make(self) -> Segment:
        for path in self._folder.glob(f"{FREE}*"):
            if (taken := Segment.take(path, self._size)) is not None:
                return taken
        segment = Segment.make(self._folder / new_name(), self._size)
        try:
            self._sync_folder(self._folder)
        except BaseException:
            segment.drop()
            raise
        return segment

    def close(self) -> None:
        """Make durable what the log stands for, and leave the segments to the next process."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.notify_all()
        if self._keeper is not None:
            self._keeper.join()
        used = [*self._full, *([self._current] if self._current else [])]
        self._current = None
        if used:
            self._sync_all()
        for segment in used:
            segment.renew()
        for segment in (*used, *self._free):
            segment.leave()


def recover(folder: Path, restore: Callable[[str, int, int, int], None], sync_all: Callable[[], None]) -> int:
    """See to the segments of dead processes; return how many entries were restored.

    Those of this boot need no more than ``sync_all``: the page cache holds all
    that they stand for. The entries of an earlier boot are given to
    ``restore(name, fd, offset, length)``, which makes a file of each that is not
    there whole; one that was stored long ago is stored once more, as a duplicate.
    Then the segments are free for the next process.
    """
    restored = 0
    left = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(FREE):
            continue
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)  # its process lives
                continue
            left.append((path, fd))
    try:
        for _path, fd in left:
            if boot_of(fd) != boot_identity():
                for record in records(fd):
                    restore(record.name, fd, record.offset, record.length)
                    restored += 1
        if left:
            sync_all()
        for path, fd in left:
            with contextlib.suppress(FileNotFoundError):
                set_free(path, fd)
    finally:
        for _path, fd in left:
            os.close(fd)
    return restored
