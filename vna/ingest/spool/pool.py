"""The segments of one process: made ahead, lent to one instance at a time, emptied ones used again.

To write a segment full of zeros takes as long as to receive as many bytes, so a
thread of its own makes them before they are needed, and never with the last
free bytes of the disk. A segment that is full belongs to the workers; when
nothing in it waits any more, whoever needs one takes it, which costs next to
nothing. So new ones are made when nobody sends, or when the last is at hand.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from vna.files import sync_folder
from vna.ingest.spool.segment import SUFFIX, Segment

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.5
_LIST_SECONDS = 10.0
_IDLE_SECONDS = 1.0
# With fewer empty ones than this a new one is made although somebody sends.
_AT_HAND = 2
_MOST_FULL = 64
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
    on_trouble
        Told when the disk failed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int,
        ready: int,
        largest: int,
        has_room: Callable[[int], bool],
        on_trouble: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        self._folder = folder
        self._size = segment_bytes
        self._ready = ready
        self._largest = largest
        self._has_room = has_room
        self._on_trouble = on_trouble
        self._state = threading.Condition()
        self._empty: list[Segment] = []
        self._begun: list[Segment] = []
        # Those that this process filled, the one that was full first first; as many as it can look after.
        self._full: deque[Path] = deque(maxlen=_MOST_FULL)
        self._lent = 0
        self._keeper: threading.Thread | None = None
        self._candidates: list[Path] = []
        # Should their note not have been written, they are not used again all the same.
        self._poisoned: set[Path] = set()
        self._wait_first = 0.0
        self._list_at = 0.0
        self._used = 0.0
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
            if self._keeper is None and not self._closed and self._ready:
                self._keeper = threading.Thread(target=self._run, name="spool-segments", daemon=True)
                self._keeper.start()

    def lend(self) -> Segment | None:
        """Return a segment with room for one more instance, for the caller alone; ``None`` if there is none now."""
        with self._state:
            if self._closed or not self._ready or self._lent >= _MOST_OWNED:
                return None
            # The one that was written last: the fewer are begun, the sooner each is full and emptied.
            segment = self._begun.pop() if self._begun else self._empty.pop() if self._empty else None
            self._used = time.monotonic()
            if len(self._empty) < _AT_HAND:
                self._state.notify_all()
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
            if segment.poisoned:
                self._poisoned.add(segment.path)
            else:
                self._full.append(segment.path)
        segment.close(full=True)

    def _run(self) -> None:
        with self._state:
            self._state.wait_for(lambda: self._closed, self._wait_first)
        while True:
            if not self._wait_until_lacking():
                return
            try:
                segment = self._next()
            except Exception:  # the keeper goes on, whatever it met: without it no segment is ever made again
                log.exception("no segment could be made ready")
                segment = None
            with self._state:
                if segment is None:
                    # Not at once again: a worker empties one meanwhile, or somebody makes room on the disk.
                    self._state.wait_for(lambda: self._closed, _LOOK_SECONDS)
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
            segment = self._take()
            if segment is None and self._may_make():
                segment = Segment.make(self._folder, self._size)
        if segment is None:
            return None
        try:
            # Before the first instance: a segment whose name is lost is lost with all that it holds. One that was
            # made by a process which was killed may have had its name no more than in memory.
            sync_folder(self._folder)
        except OSError as error:
            # Told once: a second sync would say yes. This process has no segments any more.
            segment.close()
            with self._state:
                self._ready = 0
            self._on_trouble(error)
            return None
        return segment

    def _lacking(self) -> bool:
        return len(self._empty) < self._ready

    def _may_make(self) -> bool:
        """Whether to write a new one: it takes the disk from those who send, and some of its room for good."""
        if not self._has_room(self._size):
            return False
        with self._state:
            return len(self._empty) < _AT_HAND or time.monotonic() - self._used > _IDLE_SECONDS

    def _take(self) -> Segment | None:
        """Take a segment that is emptied, of a few that are looked at: a backlog may have thousands."""
        with self._state:
            own = list(self._full)[:_AT_HAND]
        for path in own:
            # What was full first is emptied first.
            taken = self._take_one(path)
            if taken is not None or not path.exists():
                with self._state, suppress(ValueError):  # pushed out by a later one meanwhile
                    self._full.remove(path)
            if taken is not None:
                return taken
        now = time.monotonic()
        if not self._candidates and now > self._list_at:
            self._list_at = now + _LIST_SECONDS
            self._candidates = sorted(self._folder.glob(f"*{SUFFIX}"), reverse=True)
        for _ in range(min(_CANDIDATES, len(self._candidates))):
            path = self._candidates.pop()
            if path not in own and (taken := self._take_one(path)) is not None:
                return taken
        return None

    def _take_one(self, path: Path) -> Segment | None:
        if path in self._poisoned:
            return None
        with suppress(OSError):
            return Segment.take(path, self._size)
        return None

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
