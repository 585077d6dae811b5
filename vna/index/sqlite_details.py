"""Terms and attributes of instances, stored as what differs from the first instance of the series.

Nine in ten attributes are the same in every instance of a series. The first
instance that a series was made with is its *base*, for as long as there is the
series (it says nothing of who represents the series). Of each instance only
the difference is kept: a fifth of the writing, and of the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from vna.domain.records import Attributes, IndexedInstance, Terms
from vna.index.sqlite_rows import Facts, encode_words, keyed_terms, plain_path
from vna.index.sqlite_sql import select_in

_BASE = "SELECT terms, attributes, words FROM bases WHERE series = ?"


@dataclass(frozen=True, slots=True)
class Base:
    """What the instances of a series are compared with; terms by their JSON keys."""

    terms: dict[str, tuple[str, ...]]
    attributes: Attributes
    words: str

    @classmethod
    def make(cls, connection: sqlite3.Connection, series: int, instance: IndexedInstance) -> Base:
        """Store the base of a new series."""
        base = cls(dict(keyed_terms(instance.terms)), instance.attributes, encode_words(instance.words))
        connection.execute(
            "INSERT INTO bases VALUES (?, CAST(? AS TEXT), ?, ?)",
            (series, orjson.dumps(base.terms), orjson.dumps(base.attributes), base.words),
        )
        return base

    @classmethod
    def load(cls, connection: sqlite3.Connection, series: int) -> Base:
        """Return the base of a series."""
        return _parse(*connection.execute(_BASE, (series,)).fetchone())

    def row(self, instance: IndexedInstance) -> tuple[bytes, bytes, str | None]:
        """Return what differs in an instance: an empty list and ``null`` stand for what it lacks."""
        words = encode_words(instance.words)
        terms = _difference(self.terms, keyed_terms(instance.terms), ())
        attributes = _difference(self.attributes, instance.attributes, None)
        return orjson.dumps(terms), orjson.dumps(attributes), None if words == self.words else words


@lru_cache(16)
def _parse(terms: str, attributes: bytes, words: str) -> Base:
    """Read a base; the next batch of the series has the same again."""
    return Base({key: tuple(values) for key, values in orjson.loads(terms).items()}, orjson.loads(attributes), words)


def _difference(base: dict[str, Any], other: Any, lacking: object) -> dict[str, Any]:
    changed = {}
    get = base.get
    for key, value in other.items():
        known = get(key)
        if known is not value:
            if known == value:
                base[key] = value  # instances share their parts, so the next one has this very object
            else:
                changed[key] = value
    if len(base) + len(changed) != len(other):
        changed.update(dict.fromkeys(base.keys() - other.keys(), lacking))
    return changed


def _merged(base: Attributes, blob: bytes) -> Attributes:
    merged = base | orjson.loads(blob)
    return {tag: merged[tag] for tag in sorted(merged) if merged[tag] is not None}


def stored_facts(connection: sqlite3.Connection, instance_id: bytes) -> Facts:
    """Return the facts of a stored instance."""
    series, terms, attributes, words = connection.execute(
        "SELECT e.series, d.terms, d.attributes, d.words FROM instances e JOIN details d ON d.instance = e.instance"
        " WHERE e.id = ?",
        (instance_id,),
    ).fetchone()
    base = Base.load(connection, series)
    merged: dict[str, Sequence[str]] = base.terms | orjson.loads(terms)
    return Facts(
        {plain_path(key): tuple(values) for key, values in merged.items() if values},
        _merged(base.attributes, attributes),
        base.words if words is None else words,
    )


def stored_terms(connection: sqlite3.Connection, series: int) -> Iterator[Terms]:
    """Yield the terms of each instance of a series."""
    sql = "SELECT d.terms FROM instances e JOIN details d ON d.instance = e.instance WHERE e.series = ?"
    base = Base.load(connection, series)
    for (terms,) in connection.execute(sql, (series,)).fetchall():
        merged: dict[str, Sequence[str]] = base.terms | orjson.loads(terms)
        yield {plain_path(key): tuple(values) for key, values in merged.items() if values}


def attributes_of(connection: sqlite3.Connection, instances: Sequence[int]) -> dict[int, Attributes]:
    """Return the attributes of instances by row."""
    sql = (
        "SELECT d.instance, e.series, d.attributes FROM details d JOIN instances e ON e.instance = d.instance"
        " WHERE d.instance IN "
    )
    found = list(select_in(connection, sql, instances))
    wanted = list({series for _, series, _ in found})
    bases = {
        series: orjson.loads(blob)
        for series, blob in select_in(connection, "SELECT series, attributes FROM bases WHERE series IN ", wanted)
    }
    return {instance: _merged(bases[series], blob) for instance, series, blob in found}
