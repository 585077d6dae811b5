"""All matches of a query in the SQLite index, for a reader who may be slow: the peer of a C-FIND, say.

SQLite cannot take its log back beyond the oldest open read transaction, so none
is open while it is the reader's turn. The keys of the matches are read first,
which takes a moment: so none comes twice, and none is passed over. What belongs
to them follows a page at a time. Of very many matches a run of keys is read at
a time; the next one begins behind the last key, wherever that is by then.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from vna.domain.query import AnyOf, Criterion, Hit, Level, Query, Selector
from vna.domain.records import Location
from vna.index import sqlite_read, sqlite_rows
from vna.index.sqlite_files import Files, Session

RUN = 50_000
"""Keys that are read at once: some MiB."""
_LOCATE_PAGE = 1000

T = TypeVar("T")
Key = tuple[Any, ...]


def hits(files: Files, name: str, query: Query, page: int) -> Iterator[Hit]:
    """Yield every match in order; ``name`` pins the content file."""

    def read(connection: sqlite3.Connection, keys: Sequence[Key]) -> list[Hit]:
        return sqlite_read.hits(connection, query.level, keys)

    return _scroll(files, name, query, max(1, page), read)


def locations(files: Files, name: str, selector: Selector, criteria: Sequence[Criterion]) -> Iterator[Location]:
    """Yield the instances of a selection that meet all criteria; none of an empty one."""
    selected: list[Criterion] = []
    if selector.patient_id is not None:
        selected.append(AnyOf(sqlite_rows.PATIENT_ID, (selector.patient_id,)))
    for path, values in (
        (sqlite_rows.STUDY_UID, selector.studies),
        (sqlite_rows.SERIES_UID, selector.series),
        (sqlite_rows.SOP_UID, selector.instances),
    ):
        if values:
            selected.append(AnyOf(path, values))
    if not selected:
        return iter(())
    query = Query(Level.INSTANCE, (*selected, *criteria))
    return _scroll(files, name, query, _LOCATE_PAGE, sqlite_read.locations)


def _scroll(
    files: Files,
    name: str,
    query: Query,
    page: int,
    read: Callable[[sqlite3.Connection, Sequence[Key]], list[T]],
) -> Iterator[T]:
    # A session of its own: as long as it has the content file open, that one is read, even if it is swapped out.
    session = files.extra_session()
    try:
        for keys in _runs(files, session, name, query):
            for start in range(0, len(keys), page):
                with files.reading(session, name or session.current) as connection:
                    found = read(connection, keys[start : start + page])
                yield from found
    finally:
        session.close()


def _runs(files: Files, session: Session, name: str, query: Query) -> Iterator[list[Key]]:
    """Yield the keys of all matches, each once, in runs."""
    seen = _Rows()
    after: Key | None = None
    remaining = query.limit
    while remaining is None or remaining > 0:
        size = RUN if remaining is None else min(RUN, remaining)
        asked = replace(query, limit=size, offset=0 if after else query.offset)
        with files.reading(session, name if after is None else name or session.current) as connection:
            keys = sqlite_read.keys(connection, asked, after)
            if len(keys) == size:
                after = sqlite_read.place(connection, query, keys[-1])
        # One whose place in the order changed between two runs is met in both.
        new = [key for key in keys if seen.add(key[-1])]
        if new:
            yield new
        if len(keys) < size:
            return
        remaining = remaining if remaining is None else remaining - len(new)


class _Rows:
    """Numbers of rows, a bit each: they are given away in order."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, row: int) -> bool:
        """Add a number; say whether it is new."""
        place, bit = row >> 3, 1 << (row & 7)
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits) + 4096))
        known = self._bits[place] & bit
        self._bits[place] |= bit
        return not known
