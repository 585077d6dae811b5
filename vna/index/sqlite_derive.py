"""What series and studies derive from their instances: counts, sets, representatives.

Nothing is incremented: after a batch each series that it touched is counted
anew from its instances, by an index that covers the question, and each study
from its series.
"""

# ruff: noqa: S608 - only names of tables and columns written in this file are put into SQL; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from vna.domain.limits import combination
from vna.domain.query import Level
from vna.domain.records import IndexedInstance
from vna.index import sqlite_rows as rows
from vna.index.sqlite_details import Base, stored_facts, stored_terms
from vna.index.sqlite_rows import Facts

_NEW_STUDY = (
    "INSERT INTO studies (id, uid, patient, name, date, time, representative, series, instances, modalities, classes,"
    " attributes) VALUES (?, ?, x'', '', '', '', '', 0, 0, '[]', '[]', x'')"
)
_NEW_SERIES = (
    "INSERT INTO series (id, uid, study, study_id, position, representative, instances, bytes, modalities, classes,"
    " words, attributes) VALUES (?, ?, ?, ?, 0, '', 0, 0, '[]', '[]', '', x'')"
)


@dataclass
class Touched:
    """The series that a batch touched, with the best new candidate for representing each.

    ``lost`` are those that lost instances, where the representative is sought anew;
    ``replaced`` those of which an instance has another content now.
    """

    lost: set[int] = field(default_factory=set)
    replaced: set[int] = field(default_factory=set)
    _rows: dict[tuple[str, str], int] = field(default_factory=dict)
    _candidates: dict[int, tuple[str, IndexedInstance]] = field(default_factory=dict)
    _bases: dict[int, Base] = field(default_factory=dict)
    _combinations: dict[int, set[str]] = field(default_factory=dict)

    def series_of(self, connection: sqlite3.Connection, instance: IndexedInstance) -> int:
        """Return the row of an instance's series, made if it is new, with its study."""
        uids = instance.uids
        key = (uids.study, uids.series)
        if key not in self._rows:
            series_id = bytes.fromhex(uids.series_id)
            row = connection.execute("SELECT series FROM series WHERE id = ?", (series_id,)).fetchone()
            self._rows[key] = row[0] if row else self._new_series(connection, instance, series_id)
        return self._rows[key]

    def base_of(self, connection: sqlite3.Connection, series: int) -> Base:
        """Return what the instances of a series are compared with."""
        if series not in self._bases:
            self._bases[series] = Base.load(connection, series)
        return self._bases[series]

    def _new_series(self, connection: sqlite3.Connection, instance: IndexedInstance, series_id: bytes) -> int:
        uids = instance.uids
        study_id = bytes.fromhex(uids.study_id)
        row = connection.execute("SELECT study FROM studies WHERE id = ?", (study_id,)).fetchone()
        study = row[0] if row else connection.execute(_NEW_STUDY, (study_id, uids.study)).lastrowid
        made = connection.execute(_NEW_SERIES, (series_id, uids.series, study, study_id)).lastrowid
        assert made is not None
        self._bases[made] = Base.make(connection, made, instance)
        return made

    def offer(self, series: int, representative: str, instance: IndexedInstance) -> None:
        """Note a new or changed instance of a series."""
        self._combinations.setdefault(series, set()).add(combination(instance.terms))
        best = self._candidates.get(series)
        if best is None or representative < best[0]:
            self._candidates[series] = (representative, instance)

    def derive(self, connection: sqlite3.Connection) -> None:
        """Bring the series that were touched, and their studies, in line with their instances."""
        facts: dict[str, Facts] = {}
        studies: set[int] = set()
        for series in sorted(self.lost | self._candidates.keys()):
            studies.add(self._derive_series(connection, series, facts))
        for study in sorted(studies):
            _derive_study(connection, study, facts)

    def _derive_series(self, connection: sqlite3.Connection, series: int, facts: dict[str, Facts]) -> int:
        study, old, *before = connection.execute(
            "SELECT study, representative, instances, bytes, classes FROM series WHERE series = ?", (series,)
        ).fetchone()
        tally = connection.execute(
            "SELECT sop_class, count(*), sum(size) FROM instances WHERE series = ? GROUP BY sop_class", (series,)
        ).fetchall()
        if not tally:
            connection.execute("DELETE FROM series WHERE series = ?", (series,))
            connection.execute("DELETE FROM bases WHERE series = ?", (series,))
            connection.execute("DELETE FROM series_words WHERE rowid = ?", (series,))
            _set_terms(connection, "series_terms", series, ())
            return int(study)
        after = [sum(row[1] for row in tally), sum(row[2] for row in tally), rows.dumps(row[0] for row in tally)]
        if after != before:
            connection.execute(
                "UPDATE series SET instances = ?, bytes = ?, classes = ? WHERE series = ?", (*after, series)
            )
        found = self._representative(connection, series, old)
        if found is not None:
            representative, facts[representative] = found
            _represent_series(connection, series, representative, facts[representative])
        self._combine(connection, series)
        return int(study)

    def _combine(self, connection: sqlite3.Connection, series: int) -> None:
        """Note the combinations of a series' instances: new ones, or all anew where some may be gone."""
        if series in self.lost or series in self.replaced:
            found = {combination(terms) for terms in stored_terms(connection, series)}
            _set_path(connection, "series_terms", series, rows.COMBINATIONS, found)
            return
        _add_path(connection, "series_terms", series, rows.COMBINATIONS, self._combinations.get(series, ()))

    def _representative(self, connection: sqlite3.Connection, series: int, old: str) -> tuple[str, Facts] | None:
        """Return the representative of a series and its facts, ``None`` if it is the old one, unchanged."""
        if series in self.lost:
            raw, received = connection.execute(
                "SELECT id, received_us FROM instances WHERE series = ? ORDER BY received_us, id LIMIT 1", (series,)
            ).fetchone()
            representative = rows.representative(received, raw.hex())
            return None if representative == old else (representative, _stored(connection, representative))
        representative, instance = self._candidates[series]
        # Equal: other bytes of the same instance came with the same time of reception.
        return (representative, Facts.of(instance)) if not old or representative <= old else None


def _stored(connection: sqlite3.Connection, representative: str) -> Facts:
    return stored_facts(connection, bytes.fromhex(representative[20:]))


def _represent_series(connection: sqlite3.Connection, series: int, representative: str, facts: Facts) -> None:
    uid, study_uid, old_words = connection.execute(
        "SELECT s.uid, st.uid, s.words FROM series s JOIN studies st ON st.study = s.study WHERE s.series = ?",
        (series,),
    ).fetchone()
    connection.execute(
        "UPDATE series SET representative = ?, position = ?, modalities = ?, words = ?, attributes = ?"
        " WHERE series = ?",
        (
            representative,
            facts.position(rows.SERIES_NUMBER),
            rows.dumps(facts.terms.get(rows.MODALITY, ())),
            facts.words,
            facts.attributes_at(Level.SERIES),
            series,
        ),
    )
    own = {rows.STUDY_UID: study_uid, rows.SERIES_UID: uid}
    terms = [pair for pair in facts.terms_at(Level.SERIES) if pair[0] not in own]
    kept = connection.execute(
        "SELECT path, value FROM series_terms WHERE owner = ? AND path = ?", (series, rows.COMBINATIONS)
    ).fetchall()
    _set_terms(connection, "series_terms", series, [*terms, *own.items(), *kept])
    if facts.words != old_words:
        _set_words(connection, "series_words", series, facts.words)


def _derive_study(connection: sqlite3.Connection, study: int, facts: dict[str, Facts]) -> None:
    uid, old, *before = connection.execute(
        "SELECT uid, representative, series, instances, modalities, classes FROM studies WHERE study = ?", (study,)
    ).fetchone()
    parts = connection.execute(
        "SELECT representative, instances, modalities, classes, words FROM series WHERE study = ?", (study,)
    ).fetchall()
    if not parts:
        connection.execute("DELETE FROM studies WHERE study = ?", (study,))
        connection.execute("DELETE FROM study_words WHERE rowid = ?", (study,))
        _set_terms(connection, "study_terms", study, ())
        return
    modalities = {value for part in parts for value in rows.loads(part[2])}
    classes = {value for part in parts for value in rows.loads(part[3])}
    after = [len(parts), sum(part[1] for part in parts), rows.dumps(modalities), rows.dumps(classes)]
    if after != before:
        connection.execute(
            "UPDATE studies SET series = ?, instances = ?, modalities = ?, classes = ? WHERE study = ?",
            (*after, study),
        )
    combinations = connection.execute(
        "SELECT DISTINCT t.path, t.value FROM series s JOIN series_terms t ON t.owner = s.series AND t.path = ?"
        " WHERE s.study = ?",
        (rows.COMBINATIONS, study),
    ).fetchall()
    representative = min(part[0] for part in parts)
    changed = representative != old or representative in facts
    if changed:
        chosen = facts.get(representative) or _stored(connection, representative)
        connection.execute(
            "UPDATE studies SET representative = ?, patient = ?, name = ?, date = ?, time = ?, attributes = ?"
            " WHERE study = ?",
            (
                representative,
                chosen.patient(),
                chosen.text(rows.PATIENT_NAME),
                chosen.text(rows.STUDY_DATE),
                chosen.text(rows.STUDY_TIME),
                chosen.attributes_at(Level.STUDY),
                study,
            ),
        )
        terms = [pair for pair in chosen.terms_at(Level.STUDY) if pair[0] != rows.STUDY_UID]
        terms.append((rows.STUDY_UID, uid))
        terms += [(rows.MODALITIES_IN_STUDY, value) for value in modalities]
        terms += [(rows.SOP_CLASSES_IN_STUDY, value) for value in classes]
        _set_terms(connection, "study_terms", study, [*terms, *combinations])
    else:
        if after[2:] != before[2:]:
            _set_path(connection, "study_terms", study, rows.MODALITIES_IN_STUDY, modalities)
            _set_path(connection, "study_terms", study, rows.SOP_CLASSES_IN_STUDY, classes)
        _set_path(connection, "study_terms", study, rows.COMBINATIONS, {value for _, value in combinations})
    _set_words(connection, "study_words", study, " ".join(sorted({word for part in parts for word in part[4].split()})))


def _set_terms(connection: sqlite3.Connection, table: str, owner: int, terms: Iterable[tuple[str, str]]) -> None:
    connection.execute(f"DELETE FROM {table} WHERE owner = ?", (owner,))
    connection.executemany(
        f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", [(path, value, owner) for path, value in sorted(set(terms))]
    )


def _set_path(connection: sqlite3.Connection, table: str, owner: int, path: str, values: set[str]) -> None:
    known = connection.execute(f"SELECT value FROM {table} WHERE owner = ? AND path = ?", (owner, path))
    if {value for (value,) in known} != values:
        connection.execute(f"DELETE FROM {table} WHERE owner = ? AND path = ?", (owner, path))
        _add_path(connection, table, owner, path, values)


def _add_path(connection: sqlite3.Connection, table: str, owner: int, path: str, values: Iterable[str]) -> None:
    connection.executemany(
        f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", [(path, value, owner) for value in values]
    )


def _set_words(connection: sqlite3.Connection, table: str, owner: int, words: str) -> None:
    row = connection.execute(f"SELECT words FROM {table} WHERE rowid = ?", (owner,)).fetchone()
    if row is not None and row[0] == words:
        return
    if row is not None:
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (owner,))
    if words:
        connection.execute(f"INSERT INTO {table} (rowid, words) VALUES (?, ?)", (owner, words))
