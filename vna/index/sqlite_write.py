"""Upserts of the SQLite index, within one transaction of one connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from vna.domain.records import IndexedInstance
from vna.index import sqlite_derive as derive
from vna.index import sqlite_rows as rows
from vna.index.sqlite_sql import select_in
from vna.ports.index import Outcome, Upserted


@dataclass(slots=True)
class _Known:
    """What is known of one instance identity, during a batch."""

    row: int | None = None
    contents: dict[str, int] = field(default_factory=dict)
    current: tuple[int, str] | None = None
    write: IndexedInstance | None = None
    superseded: bool = False

    def precedence(self, digest: str) -> tuple[int, str]:
        return (self.contents[digest], digest)

    def take(self, instance: IndexedInstance) -> tuple[Outcome, str]:
        """Take in a content; return the outcome and the digest of another content."""
        digest, received = instance.digest, instance.received_us
        others = [one for one in self.contents if one != digest]
        other = min(others, key=self.precedence) if others else ""
        if not self.contents:
            outcome = Outcome.CREATED
        elif digest in self.contents:
            outcome = Outcome.DUPLICATE
            if received >= self.contents[digest]:
                return outcome, other
        else:
            outcome = Outcome.CONFLICT
        self.contents[digest] = received
        if self.current is None or (received, digest) < self.current:
            self.write, self.current = instance, (received, digest)
        self.superseded = len(self.contents) > 1
        return outcome, other


def upsert(connection: sqlite3.Connection, instances: Sequence[IndexedInstance]) -> list[Upserted]:
    """Take in a batch; the caller holds a write transaction."""
    ids = [instance.uids.instance_id for instance in instances]
    known = _read_known(connection, ids)
    taken = [known[identity].take(instance) for identity, instance in zip(ids, instances, strict=True)]
    _write(connection, {identity: one for identity, one in known.items() if one.write or one.superseded})
    return [
        Upserted(
            outcome, current=known[identity].current == known[identity].precedence(instance.digest), other_digest=other
        )
        for identity, instance, (outcome, other) in zip(ids, instances, taken, strict=True)
    ]


def _read_known(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, _Known]:
    known = {identity: _Known() for identity in ids}
    keys = [bytes.fromhex(identity) for identity in known]
    sql = "SELECT id, instance, received_us, digest FROM instances WHERE id IN "
    for raw, row, received, digest in select_in(connection, sql, keys):
        one = known[raw.hex()]
        one.row, one.current = row, (received, digest.hex())
        one.contents[digest.hex()] = received
    sql = "SELECT id, digest, received_us FROM superseded WHERE id IN "
    for raw, digest, received in select_in(connection, sql, keys):
        known[raw.hex()].contents[digest.hex()] = received
    return known


def _write(connection: sqlite3.Connection, changed: dict[str, _Known]) -> None:
    writes = {identity: one for identity, one in changed.items() if one.write is not None}
    touched = derive.Touched()
    new: list[tuple[object, ...]] = []
    details: list[tuple[object, ...]] = []
    next_row: int = connection.execute("SELECT coalesce(max(instance), 0) + 1 FROM instances").fetchone()[0]
    for identity, one in writes.items():
        instance = one.write
        assert instance is not None
        row = one.row
        if row is None:
            row, next_row = next_row, next_row + 1
        series = touched.series_of(connection, instance)
        if one.row is not None:
            touched.replaced.add(series)
        terms = instance.terms
        number = terms.get(rows.INSTANCE_NUMBER)
        new.append(
            (
                row,
                bytes.fromhex(identity),
                series,
                rows.position(number[0] if number else ""),
                instance.received_us,
                bytes.fromhex(instance.digest),
                instance.size,
                instance.uids.sop,
                instance.sop_class,
                instance.transfer_syntax,
                instance.key,
                rows.patient_column(terms),
            )
        )
        details.append((row, *touched.base_of(connection, series).row(instance)))
        touched.offer(series, rows.representative(instance.received_us, identity), instance)
    connection.executemany("INSERT OR REPLACE INTO instances VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", new)
    connection.executemany("INSERT OR REPLACE INTO details VALUES (?, CAST(? AS TEXT), ?, ?)", details)
    for identity, one in changed.items():
        if one.superseded:
            _write_superseded(connection, bytes.fromhex(identity), one)
    touched.derive(connection)


def _write_superseded(connection: sqlite3.Connection, key: bytes, one: _Known) -> None:
    assert one.current is not None
    connection.execute("DELETE FROM superseded WHERE id = ?", (key,))
    connection.executemany(
        "INSERT INTO superseded VALUES (?, ?, ?)",
        [(key, bytes.fromhex(digest), at) for digest, at in one.contents.items() if digest != one.current[1]],
    )


def remove(connection: sqlite3.Connection, instance_ids: Sequence[str]) -> int:
    """Forget instances with all their contents; return how many there were. The caller holds a write transaction."""
    keys = [bytes.fromhex(identity) for identity in dict.fromkeys(instance_ids)]
    found = list(select_in(connection, "SELECT instance, id, series FROM instances WHERE id IN ", keys))
    connection.executemany("DELETE FROM instances WHERE instance = ?", [(row,) for row, _, _ in found])
    connection.executemany("DELETE FROM details WHERE instance = ?", [(row,) for row, _, _ in found])
    connection.executemany("DELETE FROM superseded WHERE id = ?", [(raw,) for _, raw, _ in found])
    derive.Touched(lost={series for _, _, series in found}).derive(connection)
    return len(found)
