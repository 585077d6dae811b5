"""Reads the trail, what is sealed and what is not yet, newest first and in pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vna.domain.audit import AuditEvent, from_record
from vna.domain.errors import InvalidQueryError
from vna.domain.origin import now_us
from vna.ports.objects import ObjectStore
from vna.security import audit_journal as journal
from vna.security.audit_chain import PREFIX, SegmentKey, records_of
from vna.security.audit_filter import AuditFilter
from vna.security.audit_lines import Line, NewestFirst, day_of, moved, record_of
from vna.security.audit_seal import read_head

# How many records are looked at between two looks at the clock.
_LOOKED = 5000
_SOON_DAYS = 7


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An event of the trail, and where it stands.

    Attributes
    ----------
    event
        The event.
    segment, sequence
        Key of its segment and its number in the chain; empty and 0 while it is not sealed.
    position
        By what :meth:`AuditReader.entry` finds it again, and what :meth:`AuditReader.page` goes on behind.
    """

    event: AuditEvent
    segment: str = ""
    sequence: int = 0
    position: str = ""

    @property
    def chain(self) -> str:
        """Name of its chain, empty while it is not sealed."""
        key = SegmentKey.parse(self.segment)
        return key.chain if key else ""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, newest first.

    Attributes
    ----------
    entries
        The entries.
    next
        Where the next page begins, empty if there is none.
    looked_us
        Back to when it was looked, where the time was over before a page was full; else ``None``.
    """

    entries: tuple[AuditEntry, ...]
    next: str = ""
    looked_us: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class _Position:
    """A place in the order of the pages: day of sealing, then time; greater is newer."""

    day: str
    when_us: int
    id: str

    def __str__(self) -> str:
        return f"{self.day.replace('/', '-')}.{self.when_us}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> _Position:
        try:
            day, when, identity = text.split(".")
            return cls(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y/%m/%d"), int(when), identity)
        except ValueError as error:
            raise InvalidQueryError(f"not a place in the trail: {text[:100]!r}", attribute="after") from error


class AuditReader:
    """Reads the chains of an object store, and the local audit log of this node.

    Parameters
    ----------
    objects
        The object store.
    folder
        The local audit log.
    """

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self._objects = objects
        self._folder = folder

    def page(self, wanted: AuditFilter, limit: int = 50, after: str = "", seconds: float | None = None) -> AuditPage:
        """Return a page of entries, newest first. What is recorded meanwhile moves no entry to another page.

        Parameters
        ----------
        wanted
            Which.
        limit
            How many at most.
        after
            ``next`` of the page before, or ``position`` of an entry; empty for the first.
        seconds
            After this time the page ends where it is, though it is not full; ``None``: never.

        Raises
        ------
        InvalidQueryError
            ``after`` is not of a page.
        UnavailableError
            The object store cannot be read.
        """
        until = None if seconds is None else time.monotonic() + seconds
        entries: list[AuditEntry] = []
        newest = self._newest(wanted, _Position.parse(after) if after else None)
        for looked, (position, entry) in enumerate(newest, 1):
            if entry is not None:
                if len(entries) == limit:
                    return AuditPage(tuple(entries), entries[-1].position)
                entries.append(entry)
            # Between two records there is no id.
            if until is not None and (not position.id or looked % _LOOKED == 0) and time.monotonic() > until:
                start = datetime.strptime(position.day, "%Y/%m/%d").replace(tzinfo=UTC)
                back = position.when_us or int(start.timestamp() * 1e6)
                return AuditPage(tuple(entries), str(position), back)
        return AuditPage(tuple(entries))

    def _newest(self, wanted: AuditFilter, cursor: _Position | None) -> Iterator[tuple[_Position, AuditEntry | None]]:
        """Yield each place that is looked at, with the entry where it is wanted."""
        may = wanted.sieve()
        today = day_of(now_us())
        # First what is not sealed, then the segments: what is sealed meanwhile is seen twice rather than never.
        young = list(self._young()) if cursor is None or cursor.day >= today else []
        chains = list(self._first_keys())
        for day in self._days(chains, young, cursor.day if cursor else today, wanted):
            if cursor is not None and cursor.day == day and not cursor.when_us:
                continue  # looked at to its end
            lines = NewestFirst(self._objects, [key.chain for key in chains], day, young if day == today else [])
            for line in lines.read(
                lambda data: wanted.spans(data.when_us) and (data.record is not None or may(data.data))
            ):
                position = _Position(day, line.when_us, line.id) if line else _Position(day, lines.bound_us + 1, "")
                if cursor is not None and position >= cursor:
                    continue
                event = _event(record_of(line)) if line else None
                if line is None or event is None or not wanted.matches(event):
                    yield position, None
                else:
                    yield position, AuditEntry(event, line.segment, line.sequence, str(position))
            yield _Position(day, 0, ""), None

    def _days(self, chains: list[SegmentKey], young: list[Line], first: str, wanted: AuditFilter) -> Iterator[str]:
        """Yield the days on which anything wanted may have been sealed, the newest first."""
        oldest = min((key.day for key in chains), default=first)
        if wanted.since_us is not None:
            # Nothing is sealed before it happened.
            oldest = max(oldest, day_of(wanted.since_us))
        if wanted.until_us is not None and all(line.when_us >= wanted.until_us for line in young):
            # What happened before a day was sealed by the first run behind it, which ends the day after at the latest.
            behind = moved(day_of(wanted.until_us), 1)
            found = (self._first_day(key.chain, behind) for key in chains)
            first = min(first, moved(max((day for day in found if day), default=behind), 1))
        day = first
        while day >= oldest:
            yield day
            day = moved(day, -1)

    def _first_day(self, chain: str, day: str) -> str:
        """Return the first day not before another on which a chain was sealed, empty for none."""
        for info in self._objects.list(f"{PREFIX}{chain}/", f"{PREFIX}{chain}/{day}"):
            key = SegmentKey.parse(info.key)
            if key is not None:
                return key.day
        return ""

    def _first_keys(self) -> Iterator[SegmentKey]:
        after = ""
        while (info := next(iter(self._objects.list(PREFIX, after)), None)) is not None:
            key = SegmentKey.parse(info.key)
            if key is None:
                after = info.key
                continue
            yield key
            after = f"{PREFIX}{key.chain}/9999999"  # behind every key of this chain

    def _read(self, keys: list[str], wanted: AuditFilter) -> Iterator[AuditEntry]:
        may = wanted.sieve()
        for key, data in self._objects.get_many(keys):
            for sequence, record in records_of(data or b"", may):
                event = _event(record)
                if event is not None and wanted.matches(event):
                    yield AuditEntry(event, key, sequence)

    def _young(self) -> Iterator[Line]:
        """Yield what is not sealed yet."""
        head = read_head(self._folder)
        for record in journal.unsealed(self._folder, head.positions if head else {}):
            yield Line(record["when_us"], record["id"], record=record)

    def entry(self, position: str) -> AuditEntry | None:
        """Return the entry of a position, ``None`` if there is none.

        Raises ``InvalidQueryError`` for what is no position.
        """
        wanted = _Position.parse(position)
        needle = f'"id":"{wanted.id}"'.encode()
        day, chains = wanted.day, [key.chain for key in self._first_keys()]
        # What was seen before it was sealed is sealed on the same day, or not long after.
        for _ in range(_SOON_DAYS):
            for line in NewestFirst(self._objects, chains, day, []).read(lambda line: needle in line.data):
                event = _event(record_of(line)) if line else None
                if line is not None and event is not None and event.id == wanted.id:
                    return AuditEntry(event, line.segment, line.sequence, position)
            day = moved(day, 1)
            if day > day_of(now_us()):
                break
        young = next((line for line in self._young() if line.id == wanted.id), None)
        event = _event(record_of(young)) if young else None
        return AuditEntry(event, position=position) if event else None

    def all(self, wanted: AuditFilter) -> Iterator[AuditEntry]:
        """Yield the entries in the order of the chains, one chain after the other, then what is not sealed."""
        young = {line.id: line for line in self._young()}
        batch: list[str] = []
        since = day_of(wanted.since_us) if wanted.since_us is not None else ""

        def flush() -> Iterator[AuditEntry]:
            for entry in self._read(batch, wanted):
                young.pop(entry.event.id, None)
                yield entry
            batch.clear()

        for info in self._objects.list(PREFIX):
            key = SegmentKey.parse(info.key)
            if key is None or key.day < since:
                continue
            batch.append(info.key)
            if len(batch) >= 64:
                yield from flush()
        yield from flush()
        for line in young.values():
            event = _event(record_of(line))
            if event is not None and wanted.matches(event):
                yield AuditEntry(event)


def _event(record: dict[str, Any] | None) -> AuditEvent | None:
    try:
        return from_record(record) if record else None
    except (ValueError, KeyError, TypeError):
        return None
