"""Reads the trail, what is sealed and what is not yet, newest first and in pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from vna.domain.audit import AuditEvent, Kind, from_record
from vna.domain.errors import InvalidQueryError
from vna.domain.origin import now_us
from vna.ports.objects import ObjectStore
from vna.security import audit_journal as journal
from vna.security.audit_chain import PREFIX, SegmentKey, records_of
from vna.security.audit_seal import read_head


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events are wanted; every given part must match.

    Attributes
    ----------
    since_us, until_us
        Span of time, microseconds since 1970 UTC; the end does not belong to it.
    patient, study
        Patient ID and Study Instance UID of what it happened to.
    user
        User, AE title, name or address of a participant, without regard to case.
    kind
        What happened.
    """

    since_us: int | None = None
    until_us: int | None = None
    patient: str = ""
    study: str = ""
    user: str = ""
    kind: Kind | None = None

    def matches(self, event: AuditEvent) -> bool:
        """Say whether an event is wanted."""
        if self.since_us is not None and event.when_us < self.since_us:
            return False
        if self.until_us is not None and event.when_us >= self.until_us:
            return False
        if self.kind is not None and event.kind != self.kind:
            return False
        if self.study and all(study.uid != self.study for study in event.studies):
            return False
        if self.patient and all(study.patient_id != self.patient for study in event.studies):
            return False
        wanted = self.user.casefold()
        return not wanted or any(
            wanted in {one.user.casefold(), one.alternative.casefold(), one.name.casefold(), one.address.casefold()}
            for one in event.participants
        )


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An event of the trail, and where it stands: chain and sequence number, 0 while it is not sealed."""

    event: AuditEvent
    chain: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries, newest first, and where the next page begins; empty if there is none."""

    entries: tuple[AuditEntry, ...]
    next: str = ""


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

    def page(self, wanted: AuditFilter, limit: int = 50, after: str = "") -> AuditPage:
        """Return a page of entries, newest first.

        Parameters
        ----------
        wanted
            Which.
        limit
            How many at most.
        after
            ``next`` of the page before; empty for the first.

        Raises
        ------
        InvalidQueryError
            ``after`` is not of a page.
        UnavailableError
            The object store cannot be read.
        """
        cursor = _parse_cursor(after)
        found: list[tuple[str, AuditEntry]] = []
        for day, entry in islice(self._newest(wanted, cursor), limit + 1):
            found.append((day, entry))
        entries = tuple(entry for _day, entry in found[:limit])
        more = ""
        if len(found) > limit and entries:
            day, last = found[limit - 1]
            more = f"{day}.{last.event.when_us}.{last.event.id}"
        return AuditPage(entries, more)

    def _newest(self, wanted: AuditFilter, cursor: tuple[str, int, str] | None) -> Iterator[tuple[str, AuditEntry]]:
        today = _day(now_us())
        # First what is not sealed, then the segments: what is sealed meanwhile is seen twice rather than never.
        young = list(self._unsealed()) if cursor is None or cursor[0] >= today else []
        first = today if cursor is None else cursor[0]
        for day in self._days(first, wanted.since_us):
            known: dict[str, AuditEntry] = {}
            if day == today:
                known = {entry.event.id: entry for entry in young}
            known |= {entry.event.id: entry for entry in self._of_day(day)}
            picked = [entry for entry in known.values() if wanted.matches(entry.event)]
            picked.sort(key=lambda entry: (entry.event.when_us, entry.event.id), reverse=True)
            for entry in picked:
                if cursor is None or (day, entry.event.when_us, entry.event.id) < cursor:
                    yield day, entry

    def _days(self, first: str, since_us: int | None) -> Iterator[str]:
        """Yield the days on which anything was sealed, the newest first, down to where nothing older is wanted."""
        oldest = min((key.day for key in self._first_keys()), default=first)
        if since_us is not None:
            # Nothing is sealed before it happened.
            oldest = max(oldest, _day(since_us))
        day = first
        while day >= oldest:
            yield day
            before = datetime.strptime(day, "%Y/%m/%d").replace(tzinfo=UTC) - timedelta(days=1)
            day = before.strftime("%Y/%m/%d")

    def _first_keys(self) -> Iterator[SegmentKey]:
        after = ""
        while (info := next(iter(self._objects.list(PREFIX, after)), None)) is not None:
            key = SegmentKey.parse(info.key)
            if key is None:
                after = info.key
                continue
            yield key
            after = f"{PREFIX}{key.chain}/9999999"  # behind every key of this chain

    def _of_day(self, day: str) -> Iterator[AuditEntry]:
        for chain in [key.chain for key in self._first_keys()]:
            keys = [info.key for info in self._objects.list(f"{PREFIX}{chain}/{day}/")]
            yield from self._read(keys)

    def _read(self, keys: list[str]) -> Iterator[AuditEntry]:
        for key, data in self._objects.get_many(keys):
            parsed = SegmentKey.parse(key)
            if parsed is None or data is None:
                continue
            for sequence, record in records_of(data):
                event = _event(record)
                if event is not None:
                    yield AuditEntry(event, parsed.chain, sequence)

    def _unsealed(self) -> Iterator[AuditEntry]:
        head = read_head(self._folder)
        for record in journal.unsealed(self._folder, head.positions if head else {}):
            event = _event(record)
            if event is not None:
                yield AuditEntry(event)

    def all(self, wanted: AuditFilter) -> Iterator[AuditEntry]:
        """Yield the entries in the order of the chains, one chain after the other, then what is not sealed."""
        young = list(self._unsealed())
        seen = {entry.event.id for entry in young}
        sealed = set()
        batch: list[str] = []
        since = _day(wanted.since_us) if wanted.since_us is not None else ""

        def flush() -> Iterator[AuditEntry]:
            for entry in self._read(batch):
                if entry.event.id in seen:
                    sealed.add(entry.event.id)
                if wanted.matches(entry.event):
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
        yield from (entry for entry in young if entry.event.id not in sealed and wanted.matches(entry.event))


def _event(record: dict[str, object]) -> AuditEvent | None:
    try:
        return from_record(record)
    except (ValueError, KeyError, TypeError):
        return None


def _day(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y/%m/%d")


def _parse_cursor(text: str) -> tuple[str, int, str] | None:
    if not text:
        return None
    try:
        day, when, identity = text.split(".")
        datetime.strptime(day, "%Y/%m/%d").replace(tzinfo=UTC)
        return day, int(when), identity
    except ValueError as error:
        raise InvalidQueryError(f"not the beginning of a page: {text[:100]!r}", attribute="after") from error
