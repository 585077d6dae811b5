"""Reads hits of the SQLite index, within one read transaction of one connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from vna.domain.identity import InstanceUids
from vna.domain.query import Facet, Hit, Level, Query
from vna.domain.records import Location
from vna.index import sqlite_query
from vna.index import sqlite_rows as rows
from vna.index.sqlite_details import attributes_of
from vna.index.sqlite_sql import select_in
from vna.ports.index import IndexCounts, Total

_LOCATIONS = (
    "SELECT e.instance, st.uid, s.uid, e.uid, e.sop_class, e.transfer_syntax, e.digest, e.size, e.key, e.id"
    " FROM instances e JOIN series s ON s.series = e.series JOIN studies st ON st.study = s.study"
    " WHERE e.instance IN "
)


def keys(connection: sqlite3.Connection, query: Query, after: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
    """Return the keys of a query's page in order, each with the number of a row at its end."""
    sql = sqlite_query.keys(query, after)
    sqlite_query.check_text(sql)
    return connection.execute(sql.text, sql.parameters).fetchall()


def place(connection: sqlite3.Connection, query: Query, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the place of a key in a query's order."""
    found: tuple[Any, ...] = connection.execute(sqlite_query.place(query), (key[-1],)).fetchone()
    return found


def hits(connection: sqlite3.Connection, level: Level, keys: Sequence[tuple[Any, ...]]) -> list[Hit]:
    """Return the hits of some keys, in their order; what is gone since is left out."""
    if level is Level.PATIENT:
        return _patients(connection, keys)
    if level is Level.STUDY:
        return _studies(connection, [key for (key,) in keys])
    if level is Level.SERIES:
        return _series(connection, [key for (key,) in keys])
    return _instances(connection, [key for (key,) in keys])


def _patients(connection: sqlite3.Connection, keys: Sequence[tuple[Any, ...]]) -> list[Hit]:
    sql = "SELECT study, attributes FROM studies WHERE study IN "
    stored = dict(select_in(connection, sql, [study for _, study in keys]))
    sql = "SELECT patient, count(*), sum(series), sum(instances) FROM studies WHERE patient IN "
    counted = {
        patient: counts
        for patient, *counts in select_in(connection, sql, [patient for patient, _ in keys], " GROUP BY patient")
    }
    found = []
    for patient, study in keys:
        if study not in stored or patient not in counted:
            continue
        attributes = rows.of_level(rows.unpack(stored[study]), Level.PATIENT)
        for tag, count in zip(("00201200", "00201202", "00201204"), counted[patient], strict=True):
            attributes[tag] = rows.number(count)
        found.append(Hit(Level.PATIENT, patient.hex(), attributes))
    return found


def _studies(connection: sqlite3.Connection, keys: Sequence[int]) -> list[Hit]:
    sql = "SELECT study, id, series, instances, modalities, classes, attributes FROM studies WHERE study IN "
    found: dict[int, Hit] = {}
    for study, raw, series, instances, modalities, classes, blob in select_in(connection, sql, keys):
        attributes = rows.unpack(blob)
        attributes[rows.MODALITIES_IN_STUDY] = rows.texts("CS", rows.loads(modalities))
        attributes[rows.SOP_CLASSES_IN_STUDY] = rows.texts("UI", rows.loads(classes))
        attributes["00201206"] = rows.number(series)
        attributes["00201208"] = rows.number(instances)
        found[study] = Hit(Level.STUDY, raw.hex(), attributes)
    return [found[key] for key in keys if key in found]


def _series(connection: sqlite3.Connection, keys: Sequence[int]) -> list[Hit]:
    sql = "SELECT series, id, instances, attributes FROM series WHERE series IN "
    found: dict[int, Hit] = {}
    for series, raw, instances, blob in select_in(connection, sql, keys):
        attributes = rows.unpack(blob)
        attributes["00201209"] = rows.number(instances)
        found[series] = Hit(Level.SERIES, raw.hex(), attributes)
    return [found[key] for key in keys if key in found]


def _instances(connection: sqlite3.Connection, keys: Sequence[int]) -> list[Hit]:
    attributes = attributes_of(connection, keys)
    found = {
        row[0]: Hit(Level.INSTANCE, row[9].hex(), attributes[row[0]], _location(row))
        for row in select_in(connection, _LOCATIONS, keys)
    }
    return [found[key] for key in keys if key in found]


def locations(connection: sqlite3.Connection, keys: Sequence[tuple[Any, ...]]) -> list[Location]:
    """Return the locations of some instances, in their order; what is gone since is left out."""
    wanted = [key for (key,) in keys]
    found = {row[0]: _location(row) for row in select_in(connection, _LOCATIONS, wanted)}
    return [found[key] for key in wanted if key in found]


def _location(row: tuple[Any, ...]) -> Location:
    _, study, series, sop, sop_class, transfer_syntax, digest, size, key, *_ = row
    return Location(InstanceUids(study, series, sop), sop_class, transfer_syntax, digest.hex(), size, key)


def count(connection: sqlite3.Connection, query: Query) -> int:
    """Return the number of matches."""
    sql = sqlite_query.count(query)
    sqlite_query.check_text(sql)
    found: int = connection.execute(sql.text, sql.parameters).fetchone()[0]
    return found


def facet(connection: sqlite3.Connection, query: Query, path: str, top: int, *, studies: bool) -> list[Facet]:
    """Return the most frequent values of a path."""
    sql = sqlite_query.facet(query, path, top, studies=studies)
    sqlite_query.check_text(sql)
    return [Facet(value, number) for value, number in connection.execute(sql.text, sql.parameters)]


def totals(connection: sqlite3.Connection, path: str, top: int) -> list[Total]:
    """Return what is stored by the values of a path."""
    sql = (
        "SELECT coalesce(t.value, '') AS v, count(DISTINCT s.study), count(*), sum(s.instances), sum(s.bytes) AS n"
        " FROM series s LEFT JOIN series_terms t ON t.owner = s.series AND t.path = ?"
        " GROUP BY v ORDER BY n DESC, v LIMIT ?"
    )
    return [Total(*row) for row in connection.execute(sql, (path, top))]


def versions(connection: sqlite3.Connection, instance_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the digests of all contents of each known instance, current first."""
    raw_ids = [bytes.fromhex(identity) for identity in dict.fromkeys(instance_ids)]
    sql = "SELECT id, digest FROM instances WHERE id IN "
    found = {raw: [digest.hex()] for raw, digest in select_in(connection, sql, raw_ids)}
    sql = "SELECT id, received_us, digest FROM superseded WHERE id IN "
    for raw, _, digest in sorted(select_in(connection, sql, list(found)), key=lambda row: row[1:]):
        found[raw].append(digest.hex())
    return {raw.hex(): found[raw] for raw in raw_ids if raw in found}


def counts(connection: sqlite3.Connection) -> IndexCounts:
    """Return how much there is."""
    patients, studies = connection.execute("SELECT count(DISTINCT patient), count(*) FROM studies").fetchone()
    series, instances, size = connection.execute(
        "SELECT count(*), coalesce(sum(instances), 0), coalesce(sum(bytes), 0) FROM series"
    ).fetchone()
    return IndexCounts(patients, studies, series, instances, size)
