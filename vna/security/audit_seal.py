"""Seals what the local audit log holds into the chain in the object store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from vna.domain.audit import AuditEvent, Kind, Outcome, Participant, to_record
from vna.domain.origin import iso_utc, now_us
from vna.ports.objects import ObjectStore
from vna.security import audit_journal as journal
from vna.security.audit_chain import PREFIX, Head, SegmentKey, head_of

_TYPE = "application/jsonl"
_RECORDS = 5000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one call did: how many segments and records it wrote."""

    segments: int
    records: int


class Sealer:
    """Makes segments. Any number of processes may have one on the same folder; one works at a time.

    Parameters
    ----------
    folder
        The local audit log, and what is known of its chain.
    objects
        Where segments go.
    name
        Beginning of the name of a new chain. A random part is added once: two
        hosts of the same name never write the same chain.
    retention_days
        Days for which the object store is told to forbid deletion of a segment; 0: none.
    """

    def __init__(self, folder: Path, objects: ObjectStore, name: str, retention_days: int = 0) -> None:
        self._folder = folder
        self._objects = objects
        self._name = name
        self._retention = timedelta(days=retention_days)
        self._state = folder / "head.json"
        self._pending = folder / "pending.jsonl"

    def seal(self) -> Sealed | None:
        """Seal what there is; ``None`` if another process is at it.

        Raises
        ------
        UnavailableError, OutOfResourcesError
            The object store took no more; the rest is sealed by the next call.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with alone(self._folder / "seal.lock") as mine:
            if not mine:
                return None
            head = self._recovered()
            first, segments = head.record, head.segment
            while True:
                records, positions, finished = self._gather(head.positions)
                if records:
                    head = self._write(head, records, positions)
                for name in finished:
                    (self._folder / name).unlink(missing_ok=True)
                if not records:
                    return Sealed(head.segment - segments, head.record - first)

    def head(self) -> Head | None:
        """Return where this node's chain ends, ``None`` if it has none."""
        return read_head(self._folder)

    def _recovered(self) -> Head:
        head = self.head() or self._from_store(self._chain())
        if self._pending.exists():
            data = self._pending.read_bytes()
            pending = head_of(data)
            if pending.segment == head.segment + 1:
                # Whether it was put is not known. It is put again as it is: the same bytes to the same key.
                head = self._put(data, pending)
            self._pending.unlink()
        return head

    def _chain(self) -> str:
        path = self._folder / "chain"
        with suppress(FileNotFoundError):
            return path.read_text().strip()
        name = f"{self._name}-{os.urandom(4).hex()}"
        journal.write_whole(path, name.encode())
        return name

    def _from_store(self, chain: str) -> Head:
        """Return the head as the object store has it: for a node that lost what it knew, or a new one."""
        last = ""
        for info in self._objects.list(f"{PREFIX}{chain}/"):
            if SegmentKey.parse(info.key):
                last = info.key
        return head_of(self._objects.get(last)) if last else Head(chain)

    def _gather(self, known: dict[str, int]) -> tuple[list[dict[str, Any]], dict[str, int], list[str]]:
        """Return the next events, the positions behind them, and the files of which no more will come."""
        records: list[dict[str, Any]] = []
        positions: dict[str, int] = {}
        finished: list[str] = []
        for name in journal.names(self._folder):
            start = known.get(name, 0)
            positions[name] = start
            piece = journal.read(self._folder, name, start) if len(records) < _RECORDS else None
            if piece is None:
                continue
            positions[name] = piece.end
            records += piece.records
            if piece.damaged:
                records.append(to_record(_damage(piece.damaged, name)))
            if piece.finished:
                finished.append(name)
        records.sort(key=lambda record: (record["when_us"], record["id"]))
        return records, positions, finished

    def _write(self, head: Head, records: list[dict[str, Any]], positions: dict[str, int]) -> Head:
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        data, after = head.extend(records, positions, day, iso_utc(now_us()))
        journal.write_whole(self._pending, data)
        after = self._put(data, after)
        self._pending.unlink()
        return after

    def _put(self, data: bytes, head: Head) -> Head:
        self._objects.put(head.key, data, _TYPE)
        if self._retention:
            self._objects.set_retention(head.key, datetime.now(UTC) + self._retention)
        journal.write_whole(self._state, orjson.dumps(asdict(head)))
        return head


def read_head(folder: Path) -> Head | None:
    """Return where the chain of a local audit log ends, ``None`` if nothing was sealed yet."""
    try:
        return Head(**orjson.loads((folder / "head.json").read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Lock a file for a block; say whether this process is the one that has it."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _damage(count: int, name: str) -> AuditEvent:
    return AuditEvent(
        Kind.SECURITY_ALERT,
        "E",
        (Participant("audit"),),
        Outcome.SERIOUS_FAILURE,
        target=name,
        detail=f"{count} bytes of the local audit log cannot be read: cut short by a power failure, or altered",
    )
