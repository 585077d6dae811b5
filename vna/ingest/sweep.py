"""The sweeper: finds the spool entries that nobody finished, and tells the queue of them again.

The queue is a hint. Messages are lost when a broker is flushed or restarted, or
when a worker dies with one; what is in the spool is the truth. A sweep

- books the deaths of workers (see ``vna.ingest.journal``) and sends what they had in hand,
- sends entries past an age again, those that failed before one by one,
- puts torn files of the spool's first format in quarantine: shorter than their name says, so never acknowledged,
- removes what processes that died left half received or half done, and emptied segments that are not needed.

It sends no more than fills the queue to a depth, nothing while the store or the
index is down, nothing that a living worker has in hand, and nothing that an
earlier sweep sent not long ago, unless the queue is empty, so that those
messages are gone. One sweep of a spool runs at a time. It reads no more entries
than it sends or has sent; how many wait it counts by segment.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import chain, takewhile
from pathlib import Path

import structlog

from vna.domain.errors import ArchiveError
from vna.domain.origin import iso_utc, now_us
from vna.ingest.hints import DEEPEST, LARGE_BYTES, enqueue_entries, ingest_queue
from vna.ingest.journal import Journal
from vna.ingest.quarantine import TORN, Quarantine, torn, torn_size
from vna.ingest.spool import Spool, SpoolEntry
from vna.ports.queue import Queue

log = structlog.get_logger(__name__)

# How long an entry that was sent again is left alone while the queue is not empty.
_PATIENCE_SECONDS = 300.0
# Silence after which a file that is being received is nobody's; gateways close idle associations far earlier.
_PARTIAL_SECONDS = 3600.0
# What clocks of one site may differ by.
_SKEW_SECONDS = 5.0
_TRIM_SECONDS = 60.0


@dataclass(slots=True)
class SweepReport:
    """What a sweep saw and did.

    Attributes
    ----------
    when
        Time of the sweep, ISO 8601 in UTC.
    entries, oldest_seconds
        Entries in the spool, and how far the time of the oldest is from now.
    future
        Entries that were received later than now, of those that were looked at: the clock was wrong then, or is now.
    held
        Entries that are not sent, since nearly all of late from their sender were refused.
    unknown, damaged
        What is kept and not known to this version, and what cannot be read.
    deaths
        Workers that were found dead with entries in hand.
    sent
        Entries that the queue was told of again.
    torn, partial
        Torn files put in quarantine; half-received files removed.
    waiting
        Why nothing was sent, if something stood in the way.
    """

    when: str
    entries: int = 0
    oldest_seconds: float = 0.0
    future: int = 0
    held: int = 0
    unknown: int = 0
    damaged: int = 0
    deaths: int = 0
    sent: int = 0
    torn: int = 0
    partial: int = 0
    waiting: str = ""


class Sweeper:
    """Sweeps one spool.

    Parameters
    ----------
    spool, spool_id
        The spool, and its name in the names of its queues.
    queue
        Where to send entries.
    journal, quarantine
        Those of the spool.
    age_seconds
        Age from which an entry is taken up.
    first_age_seconds
        The same for the first sweep, if another: messages of before are most likely gone.
    batch
        Most entries of one message.
    ready
        Raises an ``ArchiveError`` while it makes no sense to send anything.
    """

    def __init__(
        self,
        spool: Spool,
        spool_id: str,
        queue: Queue,
        journal: Journal,
        quarantine: Quarantine,
        *,
        age_seconds: float = 60,
        first_age_seconds: float | None = None,
        batch: int = 64,
        deepest: int = DEEPEST,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool = spool
        self._spool_id = spool_id
        self._queue = queue
        self._journal = journal
        self._quarantine = quarantine
        self._age = age_seconds
        self._first_age = first_age_seconds
        self._batch = batch
        self._deepest = deepest
        self._ready = ready
        self._trim_at = 0.0

    def recover(self) -> int:
        """Book dead workers and send what they had in hand at once; return how many died."""
        deaths = self._journal.recover()
        for death in deaths:
            log.warning("a worker died", entries=len(death.names), blamed=death.blamed)
            with suppress(ArchiveError):  # the sweep finds them later
                self._send([SpoolEntry.parse(name) for name in death.names], self._journal.suspects())
        return len(deaths)

    def sweep(self) -> SweepReport | None:
        """Sweep once; ``None`` if another sweep is under way."""
        with _locked(self._spool.path / "sweep.lock") as mine:
            if not mine:
                return None
            report = SweepReport(iso_utc(now_us()))
            report.deaths = self.recover()
            report.partial = self._clean_partial()
            with suppress(OSError):
                self._journal.prune()
            self._scan(report)
            self._trim()
            _replace(self._spool.path / "sweep.json", json.dumps(asdict(report)))
            return report

    def _room(self, report: SweepReport) -> dict[bool, int]:
        """Return how many messages may be sent to the queues of small and of large entries; all of them if empty."""
        try:
            depth = {large: self._queue.depth(ingest_queue(self._spool_id, large=large)) for large in (False, True)}
            self._ready()
        except ArchiveError as error:
            report.waiting = str(error)
            return dict.fromkeys((False, True), 0)
        if max(depth.values()) >= self._deepest:
            report.waiting = f"{max(depth.values())} messages in the queue"
        return {large: max(0, self._deepest - deep) for large, deep in depth.items()}

    def _scan(self, report: SweepReport) -> None:
        counted = self._spool.count()
        report.entries, report.unknown, report.damaged = counted.entries, counted.unknown, counted.damaged
        now = time.time()
        if counted.oldest_us:
            report.oldest_seconds = round(abs(now - counted.oldest_us / 1e6), 1)
        held = self._journal.held()
        report.held = len(held)
        room = self._room(report)
        least = self._age if self._first_age is None else min(self._first_age, self._age)
        self._first_age = None
        empty = {large for large, left in room.items() if left == self._deepest}
        sent = self._load_sent(now)
        passed = self._journal.in_hand() | held
        suspects = self._journal.suspects()
        kept = dict(sent)
        batch: list[SpoolEntry] = []
        # What lies in segments is small; a backlog of it is read no further than it is sent.
        small = takewhile(lambda _: room[False] > 0, self._spool.entries_in_segments())
        for entry in chain(small, self._spool.entries_in_files() if any(room.values()) else ()):
            large = entry.length >= LARGE_BYTES
            # A clock that was set back makes entries of the future: they wait no longer for that.
            age = now - entry.received_us / 1e6
            report.future += age < -_SKEW_SECONDS
            if abs(age) < least or entry.name in passed or not entry.to_commit or room[large] <= 0:
                continue
            if (entry.nonce in sent and large not in empty) or self._torn(entry, report):
                continue
            if large or entry.name in suspects:
                self._send_group([entry], kept, now, report, room)
                continue
            batch.append(entry)
            if len(batch) == self._batch:
                self._send_group(batch, kept, now, report, room)
                batch = []
        if batch and room[False] > 0:
            self._send_group(batch, kept, now, report, room)
        _replace(self._spool.path / "sweep.sent", "".join(f"{nonce} {when:.0f}\n" for nonce, when in kept.items()))

    def _trim(self) -> None:
        now = time.monotonic()
        if now >= self._trim_at:
            self._trim_at = now + _TRIM_SECONDS
            self._spool.trim()
            for part in (self._journal, self._quarantine):
                try:
                    part.clean()
                except (ArchiveError, OSError) as error:
                    log.warning("what is left over cannot be cleared away", error=str(error))

    def _send_group(
        self,
        group: Sequence[SpoolEntry],
        kept: dict[str, float],
        now: float,
        report: SweepReport,
        room: dict[bool, int],
    ) -> None:
        large = group[0].length >= LARGE_BYTES
        try:
            enqueue_entries(self._queue, self._spool_id, group)
        except ArchiveError as error:
            report.waiting = str(error)
            room[False] = room[True] = 0
            return
        kept.update((entry.nonce, now) for entry in group)
        report.sent += len(group)
        room[large] -= 1

    def _send(self, entries: Sequence[SpoolEntry], suspects: set[str]) -> None:
        enqueue_entries(self._queue, self._spool_id, [entry for entry in entries if entry.name not in suspects])
        for entry in entries:
            if entry.name in suspects:
                enqueue_entries(self._queue, self._spool_id, [entry])

    def _torn(self, entry: SpoolEntry, report: SweepReport) -> bool:
        """Put a torn file in quarantine; return whether there is nothing to send, since it was torn, or is gone."""
        if entry.checksum is not None:
            return False
        try:
            size = torn_size(entry, self._spool.source(entry))
            if size is None:
                return False
            self._quarantine.put(entry, torn(entry, size), TORN)
        except FileNotFoundError:
            return True
        except (ArchiveError, OSError) as error:
            # One that cannot be read stops no sweep.
            log.warning("a file of the spool cannot be read", entry=entry.name, error=str(error))
            return False
        report.torn += 1
        log.warning("torn file put in quarantine", entry=entry.name, bytes=size, wanted=entry.length)
        return True

    def _clean_partial(self) -> int:
        before = time.time() - _PARTIAL_SECONDS
        count = 0
        with suppress(FileNotFoundError), os.scandir(self._spool.partial) as found:
            for item in found:
                with suppress(OSError):
                    if item.is_file(follow_symlinks=False) and item.stat().st_mtime < before:
                        os.unlink(item.path)
                        count += 1
        return count

    def _load_sent(self, now: float) -> dict[str, float]:
        sent = {}
        with suppress(OSError, ValueError), (self._spool.path / "sweep.sent").open(encoding="ascii") as file:
            for line in file:
                nonce, _, when = line.partition(" ")
                with suppress(ValueError):
                    if abs(now - float(when)) < _PATIENCE_SECONDS:
                        sent[nonce] = float(when)
        return sent


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    try:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    except OSError:
        # A disk that takes no file is no reason not to sweep; two at a time send more than they need to.
        yield True
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)


def _replace(path: Path, text: str) -> None:
    """Write down what the next sweep, or a person, would like to know; a disk that takes nothing ends no sweep."""
    draft = path.with_name(f".{path.name}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        log.warning("what the sweep saw cannot be written down", file=path.name, error=str(error))
