"""The segments of one process: made ahead, lent to one instance at a time, emptied ones used again.

To write a segment full of zeros takes as long as to receive as many bytes, so a
thread of its own makes them before they are needed, and never with the last
free bytes of the disk. A segment that is full belongs to the workers; when
nothing in it waits any more, whoever needs one takes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vna.files import sync_folder
from vna.ingest.spool.reading import NotASegmentError
from vna.ingest.spool.segment import SUFFIX, Segment

_RETRY_SECONDS = 10.0
_LOOK_SECONDS = 2.0
# Instances that are received at the same time in segments; more of them have files of their own.
_MOST_OWNED = 32
# Segments that are looked at, whether they are emptied, before a new one is made.
_CANDIDATES = 32


class SegmentPool:
    """The segments of this process. Safe for use by many threads; makes nothing before :meth:`prepare`.

    Parameters
    ----------
    folder
        Where segments are; made beforehand.
    segment_bytes, ready
        Size of a segment, and how many empty ones are kept ready; 0 for none at all.
    largest
        Bytes of the largest instance that a segment is lent for.
    has_room
        Whether the disk has room for so many more bytes.
    """

    def __init__(
        self, folder: Path, *, segment_bytes: int, ready: int, largest: int, has_room: Callable[[int], bool]
    ) -> None:
        self._folder = folder
        self._size = segment_bytes
        self._ready = ready
        self._largest = largest
        self._has_room = has_room
        self._state = threading.Condition()
        self._empty: list[Segment] = []
        self._begun: list[Segment] = []
        self._lent = 0
        self._keeper: threading.Thread | None = None
        self._candidates: list[Path] = []
        self._wait_first = 0.0
        self._no_room_until = 0.0
        self._closed = False

    @property
    def ready(self) -> int:
        """How many segments are ready to be lent."""
        with self._state:
            return len(self._empty) + len(self._begun)

    def prepare(self, after_seconds: float = 0.0) -> None:
        """Have segments made in the background; later, not to delay a start."""
        with self._state:
            self._wait_first = after_seconds
            self._wake()

    def lend(self) -> Segment | None:
        """Return a segment with room for one more instance, for the caller alone; ``None`` if there is none now."""
        with self._state:
            if self._closed or not self._ready or self._lent >= _MOST_OWNED:
                return None
            # The one that was written last: the fewer are begun, the sooner each is full and emptied.
            segment = self._begun.pop() if self._begun else self._empty.pop() if self._empty else None
            self._wake()
            if segment is not None:
                self._lent += 1
            return segment

    def give_back(self, segment: Segment) -> None:
        """Take back a segment that was lent."""
        with self._state:
            self._lent -= 1
            if not self._closed and segment.room > self._largest:
                self._begun.append(segment)
                return
        segment.close(full=True)

    def _wake(self) -> None:
        if self._keeper is None and not self._closed and self._ready:
            self._keeper = threading.Thread(target=self._run, name="spool-segments", daemon=True)
            self._keeper.start()
        elif len(self._empty) < self._ready:
            self._state.notify_all()

    def _run(self) -> None:
        with self._state:
            self._state.wait_for(lambda: self._closed, self._wait_first)
        while True:
            if not self._wait_until_lacking():
                return
            segment = self._next()
            with self._state:
                if segment is None:
                    # A short disk may still have room for the instances themselves, or a worker empties one meanwhile.
                    self._no_room_until = time.monotonic() + _RETRY_SECONDS
                elif self._closed:
                    segment.close()
                else:
                    self._empty.append(segment)

    def _wait_until_lacking(self) -> bool:
        with self._state:
            while not self._closed and not self._lacking():
                self._state.wait(_LOOK_SECONDS)
            return not self._closed

    def _next(self) -> Segment | None:
        segment = None
        with suppress(OSError):
            segment = self._take() or self._make()
            if segment is not None:
                # Before the first instance: a segment whose name is lost is lost with all that it holds. One that was
                # made by a process which was killed may have had its name no more than in memory.
                sync_folder(self._folder)
                return segment
        if segment is not None:
            segment.close()
        return None

    def _lacking(self) -> bool:
        return len(self._empty) < self._ready and time.monotonic() > self._no_room_until

    def _take(self) -> Segment | None:
        """Take a segment that is emptied, of a few that are looked at: a backlog may have thousands."""
        if not self._candidates:
            self._candidates = sorted(self._folder.glob(f"*{SUFFIX}"), reverse=True)
        for _ in range(min(_CANDIDATES, len(self._candidates))):
            with suppress(NotASegmentError, OSError):
                if (taken := Segment.take(self._candidates.pop(), self._size)) is not None:
                    return taken
        return None

    def _make(self) -> Segment | None:
        return Segment.make(self._folder, self._size) if self._has_room(self._size) else None

    def close(self) -> None:
        """Leave the segments to the workers and to the next process."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            self._state.notify_all()
        if self._keeper is not None:
            self._keeper.join()
        for segment in (*self._begun, *self._empty):
            segment.close(full=segment.used > 0)
        self._begun.clear()
        self._empty.clear()
