"""What a disk may hold after its power was cut: made from a log of writes and flushes.

All that was written before a flush that returned is there. Of what was written since, any part may be: the disk writes
in an order of its own, and a write that is under way leaves some of its sectors. What the marks before the moment of
the cut promise must be found in every state.
"""

from __future__ import annotations

import os
import random
import threading
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from tests.support.disk_log import FLUSH, MARK, WRITE, DiskLog, Event

# What a disk writes whole or not at all: the least there is, and what file systems take their blocks to be.
SECTOR, BLOCK = 512, 4096
# Of the moments for a cut: right behind a mark, at a flush that is about to return, any.
_BEHIND_MARK, _AT_FLUSH = 0.5, 0.35
_TORN = 0.15
# Draws for each state that is wanted, before a log is taken to have no more.
_DRAWS = 20


@dataclass(frozen=True, slots=True)
class CrashState:
    """One state: its image, and how it came about.

    Attributes
    ----------
    cut
        Events of the log before the power went.
    written, pending
        Of the writes that no flush had covered, those that reached the disk, and all.
    name
        What to give :meth:`CrashStates.make` to make it again.
    """

    cut: int
    written: int
    pending: int
    name: str


class CrashStates:
    """Makes states of a recorded disk; cheapest in the order of the log."""

    def __init__(self, recording: Path, folder: Path) -> None:
        self.log = DiskLog(recording / "log")
        self._flushes = [at for at, event in enumerate(self.log.events) if event.kind == FLUSH]
        self._one = threading.Lock()
        self._start = recording / "start.img"
        self._durable = folder / "durable.img"
        self._done = 0
        self._reset()

    def _reset(self) -> None:
        copy_sparse(self._start, self._durable)
        self._done = 0

    def sample(self, seed: int, count: int) -> list[tuple[int, int]]:
        """Choose states at moments of interest, no two alike; return what makes each. A short log has fewer.

        Of cuts that leave the same the last is taken: it has been promised most.
        """
        source = random.Random(seed)
        events = self.log.events
        marks = [at for at, event in enumerate(events) if event.kind == MARK]
        found: dict[object, tuple[int, int]] = {}
        for _ in range(_DRAWS * count):
            draw = source.random()
            if marks and draw < _BEHIND_MARK:
                cut = source.choice(marks) + 1
            elif self._flushes and draw < _BEHIND_MARK + _AT_FLUSH:
                cut = source.choice(self._flushes)
            else:
                cut = source.randint(0, len(events))
            choice = source.randrange(1 << 32)
            flush, _, written = self._plan(cut, choice)
            what = (flush, tuple((event.at, *pieces) for event, pieces in written))
            found[what] = max(found.get(what, (0, 0)), (cut, choice))
            if len(found) == count:
                break
        return sorted(found.values())

    def _plan(
        self, cut: int, choice: int, sector: int = SECTOR
    ) -> tuple[int, int, list[tuple[Event, list[tuple[int, int]]]]]:
        """Return the flush before a cut, how many writes came since, and which of them, and what of each, are kept."""
        source = random.Random(choice)
        before = bisect_left(self._flushes, cut)
        flush = self._flushes[before - 1] if before else 0
        pending = [event for event in self.log.events[flush:cut] if event.kind == WRITE]
        return flush, len(pending), [(event, _pieces(event, source, sector)) for event in _some(pending, source)]

    def make(self, cut: int, choice: int, image: Path, sector: int = SECTOR) -> CrashState:
        """Make the state of a cut that leaves of the writes under way what the number chooses; write it to an image.

        For any thread. No write is torn within a sector.
        """
        with self._one:
            return self._make(cut, choice, image, sector)

    def _make(self, cut: int, choice: int, image: Path, sector: int) -> CrashState:
        flush, pending, written = self._plan(cut, choice, sector)
        self._advance(flush)
        copy_sparse(self._durable, image)
        with image.open("r+b", buffering=0) as file:
            for event, pieces in written:
                data = self.log.bytes_of(event)
                for begin, end in pieces:
                    os.pwrite(file.fileno(), data[begin:end], event.offset + begin)
        return CrashState(cut, len(written), pending, f"{cut}:{choice}")

    def _advance(self, to: int) -> None:
        if to < self._done:
            self._reset()
        with self._durable.open("r+b", buffering=0) as image:
            for event in self.log.events[self._done : to]:
                if event.kind == WRITE:
                    os.pwrite(image.fileno(), self.log.bytes_of(event), event.offset)
        self._done = max(self._done, to)


def _some(pending: list[Event], source: random.Random) -> list[Event]:
    """Choose which of the writes under way reached the disk; what is written twice to a place keeps its order."""
    draw = source.random()
    if draw < 0.2 or not pending:
        return []
    if draw < 0.3:
        return pending
    if draw < 0.4:  # as an ordered disk would
        return pending[: source.randrange(len(pending) + 1)]
    if draw < 0.55:
        few = set(source.sample(range(len(pending)), min(len(pending), source.randint(1, 3))))
        rare = source.random() < 0.5
        return [event for at, event in enumerate(pending) if (at in few) == rare]
    share = source.choice([0.1, 0.5, 0.9])
    return [event for event in pending if source.random() < share]


def _pieces(event: Event, source: random.Random, sector: int) -> list[tuple[int, int]]:
    """Return which bytes of a write reached the disk: mostly all, else some of its sectors."""
    sectors = event.length // sector
    if sectors < 2 or source.random() >= _TORN:
        return [(0, event.length)]
    at = source.randrange(1, sectors) * sector
    match source.randrange(3):
        case 0:
            return [(0, at)]
        case 1:
            return [(at, event.length)]
        case _:  # some are missing in the middle
            behind = source.randrange(at // sector, sectors) * sector
            return [(0, at), (behind, event.length)]


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file without its holes, over what the target was."""
    with source.open("rb", buffering=0) as read, target.open("wb", buffering=0) as written:
        size = os.fstat(read.fileno()).st_size
        written.truncate(size)
        at = 0
        while at < size:
            try:
                begin = os.lseek(read.fileno(), at, os.SEEK_DATA)
            except OSError:  # no more data
                return
            at = os.lseek(read.fileno(), begin, os.SEEK_HOLE)
            os.lseek(written.fileno(), begin, os.SEEK_SET)
            while begin < at:
                begin += os.sendfile(written.fileno(), read.fileno(), begin, min(at - begin, 1 << 24))
