"""Tables of the SQLite index, and how its files are opened.

Two kinds of file. The *control* file, at the path of the configuration, holds
the compare-and-set state and the name of the *content* file in use; a rebuild
makes another content file and changes the name. Content files lie beside it.

Of a study and a series the terms are rows (``study_terms``, ``series_terms``),
so every kind of matching goes by a B-tree. Of an instance they are JSON: a
hundred rows an instance would cost more than all the rest.
"""

from __future__ import annotations

import re
import sqlite3
import time
from functools import lru_cache
from pathlib import Path

from vna.ports.index import LAYOUT

BUILT = "built"
"""Key of the note whether the index began with all that the object store held: empty as long as nobody said so."""
BUSY_SECONDS = 20.0
"""How long a write waits for the writes of other processes."""
_BUSY_PAUSE_SECONDS = 0.01

CONTROL = """
CREATE TABLE IF NOT EXISTS content (one INTEGER PRIMARY KEY CHECK (one = 1), file TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL, version TEXT NOT NULL) WITHOUT ROWID;
"""

# representative: received_us as 20 digits and the instance id, so that texts sort as the port orders them.
# position: SeriesNumber or InstanceNumber, infinite when missing, so that it sorts last.
CONTENT = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE studies (
    study INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    uid TEXT NOT NULL,
    patient BLOB NOT NULL,
    name TEXT NOT NULL,
    date TEXT NOT NULL,
    time TEXT NOT NULL,
    representative TEXT NOT NULL,
    series INTEGER NOT NULL,
    instances INTEGER NOT NULL,
    modalities TEXT NOT NULL,
    classes TEXT NOT NULL,
    attributes BLOB NOT NULL
);
CREATE INDEX studies_order ON studies (date DESC, time DESC, id);
CREATE INDEX studies_patient ON studies (patient, series, instances);
CREATE TABLE study_terms (
    path TEXT NOT NULL, value TEXT NOT NULL, owner INTEGER NOT NULL, PRIMARY KEY (path, value, owner)
) WITHOUT ROWID;
CREATE INDEX study_terms_owner ON study_terms (owner, path);
CREATE VIRTUAL TABLE study_words USING fts5 (words, tokenize = 'ascii', detail = none, columnsize = 0);

CREATE TABLE series (
    series INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    uid TEXT NOT NULL,
    study INTEGER NOT NULL,
    study_id BLOB NOT NULL,
    position REAL NOT NULL,
    representative TEXT NOT NULL,
    instances INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    modalities TEXT NOT NULL,
    classes TEXT NOT NULL,
    words TEXT NOT NULL,
    attributes BLOB NOT NULL
);
CREATE INDEX series_uid ON series (uid);
CREATE INDEX series_study ON series (study);
CREATE INDEX series_order ON series (study_id, position, id);
CREATE INDEX series_ids ON series (study_id, id);
CREATE TABLE series_terms (
    path TEXT NOT NULL, value TEXT NOT NULL, owner INTEGER NOT NULL, PRIMARY KEY (path, value, owner)
) WITHOUT ROWID;
CREATE INDEX series_terms_owner ON series_terms (owner, path);
CREATE VIRTUAL TABLE series_words USING fts5 (words, tokenize = 'ascii', detail = none, columnsize = 0);

CREATE TABLE instances (
    instance INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    series INTEGER NOT NULL,
    position REAL NOT NULL,
    received_us INTEGER NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    uid TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL,
    key TEXT NOT NULL,
    patient_id TEXT
);
CREATE INDEX instances_order ON instances (series, position, id);
CREATE INDEX instances_tally ON instances (series, sop_class, size);
CREATE INDEX instances_uid ON instances (uid);
CREATE INDEX instances_patient ON instances (patient_id);
CREATE TABLE details (
    instance INTEGER PRIMARY KEY, terms TEXT NOT NULL, attributes BLOB NOT NULL, words TEXT
);
CREATE TABLE bases (
    series INTEGER PRIMARY KEY, terms TEXT NOT NULL, attributes BLOB NOT NULL, words TEXT NOT NULL
);
CREATE TABLE superseded (
    id BLOB NOT NULL, digest BLOB NOT NULL, received_us INTEGER NOT NULL, PRIMARY KEY (id, digest)
) WITHOUT ROWID;
"""

# FULL: a worker drops the spool entry once the upsert returned, so a power cut must not take it back.
# The checkpoint after 32 MiB, not 4, keeps the second writing of each page away from most batches.
_PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 8000;
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -16384;
PRAGMA secure_delete = OFF;
PRAGMA temp_store = MEMORY;
"""


def connect(file: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open a file; without ``create`` a missing one is an error."""
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        # A connection is used by one thread at a time; only closing comes from another.
        check_same_thread=False,
        cached_statements=256,
    )
    connection.create_function("regexp", 2, _regexp, deterministic=True)
    try:
        _write_ahead(connection)
        for pragma in _PRAGMAS.strip().splitlines():
            connection.execute(pragma)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let the journal be written ahead. Of several that open a new file at once, SQLite refuses some without a wait."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_SECONDS)
        else:
            return


@lru_cache(maxsize=256)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL)


def _regexp(expression: str, text: str | None) -> bool:
    """Answer ``text REGEXP expression``, which SQLite leaves to the application."""
    return text is not None and _compiled(expression).fullmatch(text) is not None


def create_content(file: Path) -> None:
    """Make an empty content file, in place of a half-made one that a crash left."""
    drop(file)
    connection = connect(file, create=True)
    try:
        connection.executescript(f"BEGIN IMMEDIATE;{CONTENT}")
        connection.execute("INSERT INTO meta VALUES ('layout', ?), (?, '')", (str(LAYOUT), BUILT))
        connection.execute("COMMIT")
    finally:
        connection.close()


def drop(file: Path) -> None:
    """Remove a content file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
