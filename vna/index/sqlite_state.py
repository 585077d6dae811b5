"""The compare-and-set store of the SQLite index, in its control file."""

from __future__ import annotations

import secrets
import sqlite3

import orjson

from vna.domain.errors import ConflictError
from vna.domain.query import State


def get(control: sqlite3.Connection, key: str) -> State | None:
    """Return a versioned value, ``None`` if there is none."""
    row = control.execute("SELECT value, version FROM state WHERE key = ?", (key,)).fetchone()
    return None if row is None else State(orjson.loads(row[0]), row[1])


def put(control: sqlite3.Connection, key: str, value: dict[str, object], expected: str | None) -> State:
    """Store a value if its version is still ``expected``; raises ``ConflictError``."""
    data, version = orjson.dumps(value), secrets.token_hex(8)
    # One statement is one transaction: nobody comes between the comparison and the change.
    if expected is None:
        done = control.execute("INSERT OR IGNORE INTO state VALUES (?, ?, ?)", (key, data, version))
    else:
        done = control.execute(
            "UPDATE state SET value = ?, version = ? WHERE key = ? AND version = ?", (data, version, key, expected)
        )
    if done.rowcount != 1:
        raise ConflictError(f"the state {key!r} was changed by somebody else")
    return State(orjson.loads(data), version)
