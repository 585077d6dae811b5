"""Translates queries to SQL over the SQLite index's tables.

Every translation selects rows of ``e`` (and ``s``, its series, at INSTANCE
level), by their keys alone, in the level's order; attributes are read
afterwards for the page.
"""

# ruff: noqa: S608 - only names of tables and columns written in this file are put into SQL; values are bound

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import orjson

from vna.domain.errors import InvalidQueryError
from vna.domain.identity import identity
from vna.domain.levels import visible_at
from vna.domain.limits import mark
from vna.domain.query import (
    AnyOf,
    Criterion,
    DateTimeRange,
    Level,
    Query,
    Range,
    Resembles,
    SomeInstance,
    Wildcard,
    Words,
)
from vna.index import match
from vna.index import sqlite_rows as rows
from vna.index.sqlite_values import FALSE, TRUE, Sql, between, term, values


@dataclass(frozen=True, slots=True)
class _Table:
    source: str
    key: str
    order: str


_TABLES = {
    Level.STUDY: _Table("studies e", "e.study", "e.date DESC, e.time DESC, e.id"),
    Level.SERIES: _Table("series e", "e.series", "e.study_id, e.position, e.id"),
    Level.INSTANCE: _Table(
        "series s CROSS JOIN instances e ON e.series = s.series", "e.instance", "s.study_id, s.id, e.position, e.id"
    ),
}
# The terms of a path: those that differ from the base of the series, else those of the base.
_EACH = "json_each(iif(json_type(d.terms, ?) IS NULL, b.terms, d.terms), ?)"
# Where an instance is looked up by its own index, SQLite chooses the order of the join.
_BY_INSTANCE = "instances e JOIN series s ON e.series = s.series"


def keys(query: Query, after: tuple[object, ...] | None = None) -> Sql:
    """Return SQL for the keys of a query's page in order; at PATIENT: patient and the study that stands for it.

    ``after`` is the place (:func:`place`) behind which the page begins.
    """
    match.check_page(query)
    limit = -1 if query.limit is None else query.limit
    where = matches(query)
    behind = _behind(query, after) if after else Sql("")
    if query.level is Level.PATIENT:
        # SQLite takes bare columns from the row of the minimum.
        text = (
            "SELECT patient, study FROM (SELECT e.patient, e.study, e.name, min(e.representative)"
            f" FROM {where.text} GROUP BY e.patient){behind.text and f' WHERE {behind.text}'} ORDER BY name, patient"
        )
    else:
        table = _TABLES[query.level]
        order = "e.id" if query.by_identity and query.level is Level.STUDY else table.order
        joint = (" AND " if query.criteria else " WHERE ") if behind.text else ""
        text = f"SELECT {table.key} FROM {where.text}{joint}{behind.text} ORDER BY {order}"
    return Sql(f"{text} LIMIT ? OFFSET ?", (*where.parameters, *behind.parameters, limit, query.offset))


def place(query: Query) -> str:
    """Return SQL for the place of a row in a query's order, by its number."""
    return {
        Level.PATIENT: "SELECT name, patient FROM studies WHERE study = ?",
        Level.STUDY: f"SELECT {'id' if query.by_identity else 'date, time, id'} FROM studies WHERE study = ?",
        Level.SERIES: "SELECT study_id, position, id FROM series WHERE series = ?",
        Level.INSTANCE: (
            "SELECT s.study_id, s.id, e.position, e.id FROM instances e JOIN series s ON s.series = e.series"
            " WHERE e.instance = ?"
        ),
    }[query.level]


def _behind(query: Query, after: tuple[object, ...]) -> Sql:
    """Return the condition for what comes behind a place. The first column is compared alone as well: by an index."""
    if query.level is Level.PATIENT:
        return Sql("(name, patient) > (?, ?)", after)
    if query.level is Level.STUDY and query.by_identity:
        return Sql("e.id > ?", after)
    if query.level is Level.STUDY:
        date, time, key = after
        text = "e.date <= ? AND (e.date < ? OR e.time < ? OR (e.time = ? AND e.id > ?))"
        return Sql(text, (date, date, time, time, key))
    if query.level is Level.SERIES:
        return Sql("e.study_id >= ? AND (e.study_id, e.position, e.id) > (?, ?, ?)", (after[0], *after))
    return Sql("s.study_id >= ? AND (s.study_id, s.id, e.position, e.id) > (?, ?, ?, ?)", (after[0], *after))


def count(query: Query) -> Sql:
    """Return SQL for the number of matches."""
    where = matches(query)
    what = "count(DISTINCT e.patient)" if query.level is Level.PATIENT else "count(*)"
    return Sql(f"SELECT {what} FROM {where.text}", where.parameters)


def facet(query: Query, path: str, top: int, *, studies: bool = False) -> Sql:
    """Return SQL for the most frequent values of a path, counting matches, or the studies that they are of."""
    where = matches(query)
    if query.level is Level.INSTANCE:
        text = (
            f"WITH found AS MATERIALIZED (SELECT e.instance, e.series, s.study FROM {where.text})"
            f" SELECT v.value, count(DISTINCT {'f.study' if studies else 'd.instance'}) AS n FROM found f"
            f" JOIN details d ON d.instance = f.instance JOIN bases b ON b.series = f.series,"
            f" {_EACH} v GROUP BY v.value"
        )
        return Sql(f"{text} ORDER BY n DESC, v.value LIMIT ?", (*where.parameters, _member(path), _member(path), top))
    table = "series" if query.level is Level.SERIES else "study"
    of_series = "count(DISTINCT f.study)" if studies and query.level is Level.SERIES else "count(*)"
    what = "count(DISTINCT f.patient)" if query.level is Level.PATIENT else of_series
    columns = "e.series AS owner, e.study" if query.level is Level.SERIES else "e.study AS owner, e.patient"
    text = (
        f"WITH found AS MATERIALIZED (SELECT {columns} FROM {where.text})"
        f" SELECT t.value, {what} AS n FROM found f CROSS JOIN {table}_terms t ON t.owner = f.owner AND t.path = ?"
        " GROUP BY t.value ORDER BY n DESC, t.value LIMIT ?"
    )
    return Sql(text, (*where.parameters, path, top if visible_at(path, query.level) else 0))


def matches(query: Query) -> Sql:
    """Return what follows ``FROM`` for the rows that a query matches."""
    if query.level is Level.INSTANCE:
        pieces = [_instance(criterion) for criterion in query.criteria]
        by_instance = any(
            isinstance(criterion, AnyOf) and criterion.path in (rows.SOP_UID, rows.PATIENT_ID)
            for criterion in query.criteria
        )
        source = _BY_INSTANCE if by_instance else _TABLES[Level.INSTANCE].source
    else:
        pieces = [_owner(criterion, query.level) for criterion in query.criteria]
        source = _TABLES[Level.SERIES if query.level is Level.SERIES else Level.STUDY].source
    if not pieces:
        return Sql(source)
    text = f"{source} WHERE " + " AND ".join(f"({piece.text})" for piece in pieces)
    return Sql(text, tuple(parameter for piece in pieces for parameter in piece.parameters))


def _words(criterion: Words, table: str, key: str) -> Sql:
    words = [rows.encode_word(word) for word in criterion.words if word]
    if not words:
        return Sql(TRUE)
    expression = " ".join(f'"{word}" *' for word in words)
    return Sql(f"{key} IN (SELECT rowid FROM {table}_words WHERE {table}_words MATCH ?)", (expression,))


def _or_missing(criterion: AnyOf, present: Sql, missing: Sql) -> Sql:
    """Join what is matched by values and what is matched by the empty one."""
    if "" not in criterion.values:
        return present if criterion.values else Sql(FALSE)
    if criterion.values == ("",):
        return missing
    return Sql(f"{present.text} OR {missing.text}", (*present.parameters, *missing.parameters))


def _own(criterion: SomeInstance, pieces: Callable[[Criterion], Sql]) -> Sql:
    """Match an entity by its own values."""
    parts = [pieces(AnyOf(*pair)) for pair in criterion.values]
    text = " AND ".join(f"({part.text})" for part in parts) or TRUE
    return Sql(text, tuple(parameter for part in parts for parameter in part.parameters))


# ---- studies and series: terms are rows


def _owner(criterion: Criterion, level: Level) -> Sql:
    table, key = ("series", "e.series") if level is Level.SERIES else ("study", "e.study")
    if isinstance(criterion, Words):
        return _words(criterion, table, key)
    if isinstance(criterion, DateTimeRange):
        return _owner_date_time(criterion, level, table, key)
    if isinstance(criterion, SomeInstance):
        return _own(criterion, partial(_owner, level=level)) if level is Level.SERIES else _some_instance(criterion)
    if not visible_at(criterion.path, level):
        return Sql(TRUE if isinstance(criterion, AnyOf) and "" in criterion.values else FALSE)
    test = term("value", criterion)
    present = Sql(
        f"{key} IN (SELECT owner FROM {table}_terms WHERE path = ? AND {test.text})", (criterion.path, *test.parameters)
    )
    if not isinstance(criterion, AnyOf):
        return present
    missing = Sql(f"{key} NOT IN (SELECT owner FROM {table}_terms WHERE path = ?)", (criterion.path,))
    return _or_missing(criterion, present, missing)


def _some_instance(criterion: SomeInstance) -> Sql:
    """Match a study by the combinations of its instances: marks stand for nothing else, wherever they are in one."""
    groups = [[mark(path, value) for value in accepted] for path, accepted in criterion.values]
    tests = [" OR ".join(["instr(value, ?)"] * len(marks)) or FALSE for marks in groups]
    text = " AND ".join(f"({test})" for test in ("path = ?", *tests))
    parameters = (rows.COMBINATIONS, *(each for marks in groups for each in marks))
    return Sql(f"e.study IN (SELECT owner FROM study_terms WHERE {text})", parameters)


def _owner_date_time(criterion: DateTimeRange, level: Level, table: str, key: str) -> Sql:
    if not visible_at(criterion.date_path, level):
        return Sql(FALSE)
    time_path = criterion.time_path if visible_at(criterion.time_path, level) else ""
    days = between("d.value", criterion.low and criterion.low[:8], criterion.high and criterion.high[:8])
    moment = between(f"d.value || coalesce(t.value, '{match.MIDNIGHT}')", criterion.low, criterion.high)
    text = (
        f"{key} IN (SELECT d.owner FROM {table}_terms d"
        f" LEFT JOIN {table}_terms t ON t.owner = d.owner AND t.path = ?"
        f" WHERE d.path = ? AND {days.text} AND {moment.text})"
    )
    return Sql(text, (time_path, criterion.date_path, *days.parameters, *moment.parameters))


# ---- instances: terms are JSON, but for the usual keys


def _member(path: str) -> str:
    return f'$."{rows.json_path(path)}"'


def _each(path: str, test: Sql) -> Sql:
    text = (
        f"EXISTS (SELECT 1 FROM details d JOIN bases b ON b.series = e.series, {_EACH} v"
        f" WHERE d.instance = e.instance AND {test.text})"
    )
    return Sql(text, (_member(path), _member(path), *test.parameters))


def _instance(criterion: Criterion) -> Sql:
    if isinstance(criterion, Words):
        return _words(criterion, "series", "e.series")
    if isinstance(criterion, DateTimeRange):
        return _instance_date_time(criterion)
    if isinstance(criterion, SomeInstance):
        return _own(criterion, _instance)
    if criterion.path == rows.STUDY_UID:
        return _study_uid(criterion)
    if criterion.path == rows.SERIES_UID:
        return _never_missing("s.uid", criterion)
    if criterion.path == rows.SOP_UID:
        return _never_missing("e.uid", criterion)
    present = _each(criterion.path, term("v.value", criterion))
    if not isinstance(criterion, AnyOf):
        return present
    if criterion.path == rows.PATIENT_ID:
        # The column is empty for none, and null for several, which the terms know.
        test = values("e.patient_id", criterion.values) if criterion.values else Sql(FALSE)
        several = Sql(f"e.patient_id IS NULL AND {present.text}", present.parameters)
        return Sql(f"{test.text} OR ({several.text})", (*test.parameters, *several.parameters))
    lacking = _each(criterion.path, Sql(TRUE))
    return _or_missing(criterion, present, Sql(f"NOT {lacking.text}", lacking.parameters))


def _never_missing(column: str, criterion: AnyOf | Wildcard | Range | Resembles) -> Sql:
    test = term(column, criterion)
    return test if not isinstance(criterion, AnyOf) or criterion.values else Sql(FALSE)


def _study_uid(criterion: AnyOf | Wildcard | Range | Resembles) -> Sql:
    if isinstance(criterion, AnyOf):
        ids = [identity("study", uid) for uid in criterion.values]
        if len(ids) == 1:
            return Sql("s.study_id = ?", (bytes.fromhex(ids[0]),))
        text = "s.study IN (SELECT study FROM studies WHERE uid IN (SELECT value FROM json_each(?)))"
        return Sql(text, (orjson.dumps(criterion.values).decode(),))
    test = term("uid", criterion)
    return Sql(f"s.study IN (SELECT study FROM studies WHERE {test.text})", test.parameters)


def _instance_date_time(criterion: DateTimeRange) -> Sql:
    moment = between(f"v.value || coalesce(t.value, '{match.MIDNIGHT}')", criterion.low, criterion.high)
    text = (
        "EXISTS (SELECT 1 FROM details d JOIN bases b ON b.series = e.series"
        f" JOIN {_EACH} v LEFT JOIN {_EACH} t WHERE d.instance = e.instance AND {moment.text})"
    )
    date, time = _member(criterion.date_path), _member(criterion.time_path)
    return Sql(text, (date, date, time, time, *moment.parameters))


def check_text(sql: Sql) -> None:
    """Raise ``InvalidQueryError`` for texts that no attribute can have."""
    for parameter in sql.parameters:
        if isinstance(parameter, str):
            try:
                parameter.encode()
            except UnicodeEncodeError as error:
                raise InvalidQueryError("a value has characters that are none") from error
