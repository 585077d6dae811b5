"""What runs, what waits, what is stored, and how fast it comes in."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vna.bootstrap import Archive
from vna.domain import quantities
from vna.domain.errors import ArchiveError
from vna.domain.origin import now_us
from vna.ingest import backlog
from vna.ingest.quarantine import Quarantined
from vna.lifecycle import tiers
from vna.lifecycle.index_loss import find_loss
from vna.ports.index import Index, IndexCounts, Total
from vna.web import view_text

MOST_QUARANTINED = 200
_WINDOW_SECONDS = 300.0
_SHORTEST = 1.0
_STORAGE_SECONDS = 60.0
_STORAGE_ROWS = 8
_STORAGE = (("Manufacturer", "00080070"), ("Modality", "00080060"), ("Institution", "00080080"))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the archive: whether it works, its number, and a sentence on it."""

    label: str
    ok: bool
    value: str
    text: str


class Rate:
    """How fast instances become findable, from the counts of the last minutes that this process saw."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int, int]] = deque()
        self._lock = threading.Lock()

    def note(self, counts: IndexCounts) -> tuple[float, float, float] | None:
        """Note the counts; return instances and bytes a second, and over how many seconds; ``None`` at first."""
        now = self._clock()
        with self._lock:
            while self._seen and now - self._seen[0][0] > _WINDOW_SECONDS:
                self._seen.popleft()
            since = self._seen[0] if self._seen else None
            if not self._seen or now - self._seen[-1][0] >= _SHORTEST:
                self._seen.append((now, counts.instances, counts.bytes))
        if since is None or now - since[0] < _SHORTEST:
            return None
        span = now - since[0]
        return max(0, counts.instances - since[1]) / span, max(0, counts.bytes - since[2]) / span, span


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored by the values of one attribute, or by tier.

    Attributes
    ----------
    label
        Of what.
    rows
        The values; ``studies`` and ``series`` are 0 where they are not known.
    note
        When it was counted, or why there is nothing.
    """

    label: str
    rows: tuple[Total, ...]
    note: str

    @property
    def most(self) -> int:
        """The most bytes that a value has."""
        return max((total.bytes for total in self.rows), default=1) or 1


class Storage:
    """What is stored by manufacturer and the like, counted anew after a minute while the last count is shown."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = -_STORAGE_SECONDS
        self._found: dict[str, tuple[Total, ...]] = {}
        self._lock = threading.Lock()
        self._counting = False

    def look(self, index: Index) -> list[Stored]:
        """Return what was counted last; the first look waits for it. None while the index is away."""
        with self._lock:
            # What is empty is counted at once, and seen to fill.
            old = self._clock() - self._counted >= _STORAGE_SECONDS or not any(self._found.values())
            mine = old and not self._counting
            self._counting |= mine
        if mine and self._found:
            threading.Thread(target=self._count, args=(index,), name="storage", daemon=True).start()
        elif mine:
            self._count(index)
        age = quantities.age(self._clock() - self._counted)
        return [Stored(label, rows, f"counted {age} ago") for label, rows in self._found.items()]

    def _count(self, index: Index) -> None:
        try:
            self._found = {label: tuple(index.totals(path, _STORAGE_ROWS)) for label, path in _STORAGE}
            self._counted = self._clock()
        except ArchiveError as error:  # said by the part of the index
            _log.warning("operations: %s", error)
        finally:
            self._counting = False


class Watch:
    """What this process remembers between two looks."""

    def __init__(self) -> None:
        self.rate = Rate()
        self.storage = Storage()


@dataclass(frozen=True, slots=True)
class State:
    """All that the page shows but the quarantine."""

    parts: tuple[Part, ...]
    storage: tuple[Stored, ...]


def state(archive: Archive, watch: Watch) -> State:
    """Return the state of every part; one that fails says so and hides no other."""
    asks: list[tuple[str, Callable[[], list[Part]]]] = [
        ("Stored", lambda: _stored(archive, watch.rate)),
        ("Spool", lambda: [_spool(archive)]),
        ("Queue", lambda: [_queue(archive)]),
        ("Workers", lambda: [_workers(archive)]),
        ("Objects", lambda: [_objects(archive)]),
        ("Index", lambda: [_index(archive)]),
        ("Quarantine", lambda: [_quarantine(archive)]),
    ]
    with ThreadPoolExecutor(len(asks) + 2) as threads:
        storage = threads.submit(watch.storage.look, archive.index)
        by_tier = threads.submit(_tiers, archive)
        answers = list(threads.map(lambda ask: _safe(*ask), asks))
    return State(tuple(part for parts in answers for part in parts), (*by_tier.result(), *storage.result()))


def _tiers(archive: Archive) -> list[Stored]:
    try:
        found = tiers.last_count(archive.objects)
    except ArchiveError:  # said by the part of the objects
        return []
    if found is None:
        return [Stored("Tier", (), "the workers have not counted the object store yet")]
    rows = [Total(tier.name, 0, 0, tier.instances, tier.bytes) for tier in found.tiers.values()]
    rows.sort(key=lambda total: -total.bytes)
    age = quantities.age((now_us() - found.ended_us) / 1e6)
    return [Stored("Tier", tuple(rows), f"listed {age} ago, with metadata")]


def quarantined(archive: Archive) -> tuple[list[Quarantined], int]:
    """Return the first entries in quarantine, and how many there are."""
    found = []
    for item in archive.quarantine.list():
        found.append(item)
        if len(found) == MOST_QUARANTINED:
            break
    return found, max(len(found), archive.quarantine.count())


def _safe(label: str, ask: Callable[[], list[Part]]) -> list[Part]:
    try:
        return ask()
    except (ArchiveError, OSError, ValueError, KeyError) as error:
        return [Part(label, False, "away", str(error) or type(error).__name__)]


def _stored(archive: Archive, rate: Rate) -> list[Part]:
    counts = archive.index.counts()
    found = rate.note(counts)
    if found is None:
        speed = Part("Ingest rate", True, "…", "measured between two looks at this page")
    else:
        instances, size, span = found
        text = f"instances a second, {quantities.size(int(size))}/s over the last {quantities.age(span)}"
        speed = Part("Ingest rate", True, f"{instances:.1f}" if instances < 100 else f"{instances:.0f}", text)
    stored = (
        f"{view_text.grouped(counts.instances)} instances of {view_text.grouped(counts.series)} series,"
        f" {view_text.grouped(counts.studies)} studies, {view_text.grouped(counts.patients)} patients"
    )
    return [speed, Part("Stored", True, quantities.size(counts.bytes), stored)]


def _index(archive: Archive) -> Part:
    archive.index.check()
    loss = find_loss(archive.objects, archive.index)
    if loss is not None:
        return Part("Index", False, "lost", str(loss))
    if archive.index.outdated():
        return Part("Index", False, "outdated", "an earlier version made it; to find all: vna reindex")
    kind = "Elasticsearch" if archive.settings.index.kind == "elasticsearch" else "SQLite"
    return Part("Index", True, "writable", f"in {kind}")


def _spool(archive: Archive) -> Part:
    found = backlog.spooled(archive.spool)
    if found.faults:
        return Part("Spool", False, view_text.grouped(found.entries), "; ".join(found.faults))
    if not found.entries:
        free = quantities.size(found.free_bytes)
        return Part("Spool", True, "0", f"all that was received is stored; {free} of disk are free")
    old = found.oldest_seconds
    text = f"entries wait, {quantities.size(found.bytes)}; the oldest for {quantities.age(old)}"
    return Part("Spool", old < 10 * archive.settings.spool.sweep_age_seconds, view_text.grouped(found.entries), text)


def _queue(archive: Archive) -> Part:
    waiting = backlog.queued(archive.queue, archive.settings.spool.id)
    text = ", ".join(f"{name} {number}" for name, number in waiting.items())
    return Part("Queue", True, view_text.grouped(sum(waiting.values())), f"messages wait: {text}")


def _workers(archive: Archive) -> Part:
    silent, signs = [], []
    for part in (backlog.INGEST, backlog.LARGE, backlog.KEEPER):
        beat = backlog.heartbeat(archive.settings.run_path, part)
        busy = part == backlog.LARGE and backlog.large_in_hand(archive.spool)
        if not busy and (beat is None or not beat.alive):
            silent.append(part)
        signs.append(f"{part} " + (f"{quantities.age(beat.seconds)} ago on {beat.host}" if beat else "never"))
    head = f"{', '.join(silent)} silent" if silent else "alive"
    return Part("Workers", not silent, head, f"last signs of life: {'; '.join(signs)}")


def _objects(archive: Archive) -> Part:
    archive.objects.check()
    store = archive.settings.store
    where = f"bucket {store.bucket}, storage class {store.storage_class}" if store.kind == "s3" else "a local folder"
    return Part("Objects", True, "writable", where)


def _quarantine(archive: Archive) -> Part:
    count = archive.quarantine.count()
    text = "could not be stored; see below" if count else "nothing failed for good"
    return Part("Quarantine", not count, view_text.grouped(count), text)
