"""Small helpers for SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

_CHUNK = 500
"""Values in one ``IN`` list: far below any limit of SQLite, and few different statements."""


def select_in(
    connection: sqlite3.Connection, sql: str, values: Sequence[object], after: str = ""
) -> Iterator[tuple[Any, ...]]:
    """Run ``sql (?, ?, ...) after`` for all the values, in chunks."""
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        # Lengths are rounded up so that few statements are prepared; a repeated value changes nothing in an IN list.
        size = 1 if len(chunk) == 1 else min(_CHUNK, 1 << (len(chunk) - 1).bit_length())
        padded = [*chunk, *[chunk[-1]] * (size - len(chunk))]
        yield from connection.execute(f"{sql}({','.join('?' * size)}){after}", padded)
