"""The index in SQLite: the embedded default, for all processes of one host.

Write-ahead logging lets many readers go on beside one writer. Each thread has
its own connections. Nothing but ``vna.domain.errors`` leaves this module.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from vna.domain.errors import UnavailableError
from vna.domain.query import Criterion, Facet, Hit, Level, Query, Selector, State
from vna.domain.records import IndexedInstance, Location
from vna.index import sqlite_read, sqlite_rebuild, sqlite_schema, sqlite_scroll, sqlite_state, sqlite_write
from vna.index.match import check_page
from vna.index.sqlite_files import Files, translated
from vna.ports.index import LAYOUT, Index, IndexCounts, Total, Upserted

_MIN_FREE_BYTES = 16 << 20

T = TypeVar("T")


class SqliteIndex(Index):
    """An index in files at and beside ``path``.

    Parameters
    ----------
    path
        The control file; made, with its folder, when it is first needed.
    """

    def __init__(self, path: Path, *, _files: Files | None = None, _name: str = "") -> None:
        self._path = path
        self._files = _files or Files(path)
        self._name = _name

    # ---- changes

    def upsert(self, instances: Sequence[IndexedInstance]) -> list[Upserted]:
        """See :meth:`vna.ports.index.Index.upsert`."""
        if not instances:
            return []
        return self._write(lambda connection: sqlite_write.upsert(connection, instances))

    def remove(self, instance_ids: Sequence[str]) -> int:
        """See :meth:`vna.ports.index.Index.remove`."""
        if not instance_ids:
            return 0
        return self._write(lambda connection: sqlite_write.remove(connection, instance_ids))

    def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        with translated(self._path), self._files.turn():
            session = self._files.session
            with self._files.writing(session, self._name) as (connection, beside):
                if beside and sqlite_rebuild.alive(self._files):
                    # First the new one: if it fails, neither has the change, and the caller tries again.
                    with self._files.writing(session, beside) as (second, _):
                        change(second)
                return change(connection)

    def refresh(self) -> None:
        """Do nothing: what is committed is visible."""

    # ---- searches

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path), self._files.reading(self._files.session, self._name) as connection:
            yield connection

    def query(self, query: Query) -> list[Hit]:
        """See :meth:`vna.ports.index.Index.query`."""
        with self._reading() as connection:
            return sqlite_read.hits(connection, query.level, sqlite_read.keys(connection, query))

    def count(self, query: Query) -> int:
        """See :meth:`vna.ports.index.Index.count`."""
        with self._reading() as connection:
            return sqlite_read.count(connection, query)

    def scroll(self, query: Query, page: int = 1000) -> Iterator[Hit]:
        """See :meth:`vna.ports.index.Index.scroll`."""
        check_page(query)
        with translated(self._path):
            yield from sqlite_scroll.hits(self._files, self._name, query, page)

    def locate(self, selector: Selector, criteria: Sequence[Criterion] = ()) -> Iterator[Location]:
        """See :meth:`vna.ports.index.Index.locate`."""
        with translated(self._path):
            yield from sqlite_scroll.locations(self._files, self._name, selector, criteria)

    def facets(
        self, query: Query, paths: Sequence[str], top: int = 20, *, studies: bool = False
    ) -> dict[str, list[Facet]]:
        """See :meth:`vna.ports.index.Index.facets`."""
        with self._reading() as connection:
            return {path: sqlite_read.facet(connection, query, path, top, studies=studies) for path in paths}

    def totals(self, path: str, top: int = 20) -> list[Total]:
        """See :meth:`vna.ports.index.Index.totals`; a value is that of the series."""
        with self._reading() as connection:
            return sqlite_read.totals(connection, path, top)

    def versions(self, instance_ids: Sequence[str]) -> dict[str, list[str]]:
        """See :meth:`vna.ports.index.Index.versions`."""
        with self._reading() as connection:
            return sqlite_read.versions(connection, instance_ids)

    def counts(self) -> IndexCounts:
        """See :meth:`vna.ports.index.Index.counts`."""
        with self._reading() as connection:
            return sqlite_read.counts(connection)

    # ---- state

    def get_state(self, key: str) -> State | None:
        """See :meth:`vna.ports.index.Index.get_state`."""
        with translated(self._path):
            return sqlite_state.get(self._files.session.control, key)

    def put_state(self, key: str, value: dict[str, object], expected: str | None) -> State:
        """See :meth:`vna.ports.index.Index.put_state`."""
        with translated(self._path):
            return sqlite_state.put(self._files.session.control, key, value, expected)

    # ---- the whole

    @contextmanager
    def rebuild(self) -> Iterator[Index]:
        """See :meth:`vna.ports.index.Index.rebuild`."""
        with sqlite_rebuild.building(self._files) as name:
            yield SqliteIndex(self._path, _files=self._files, _name=name)

    def outdated(self) -> bool:
        """See :meth:`vna.ports.index.Index.outdated`."""
        with translated(self._path), self._files.reading(self._files.session, self._name) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'layout'").fetchone()
        return row is None or row[0] != str(LAYOUT)

    def built(self) -> bool:
        """See :meth:`vna.ports.index.Index.built`."""
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (sqlite_schema.BUILT,)).fetchone()
            if row is None:
                return connection.execute("SELECT 1 FROM instances LIMIT 1").fetchone() is not None
        return bool(row[0])

    def mark_built(self) -> None:
        """See :meth:`vna.ports.index.Index.mark_built`."""
        self._note(sqlite_schema.BUILT, "1")

    def check(self) -> None:
        """See :meth:`vna.ports.index.Index.check`."""
        self.query(Query(Level.STUDY, limit=1))
        self._note("canary", secrets.token_hex(8))
        with translated(self._path):
            free = shutil.disk_usage(self._path.parent).free
        if free < _MIN_FREE_BYTES:
            raise UnavailableError(f"the disk of the index {self._path} has {free >> 20} MiB left")

    def _note(self, key: str, value: str) -> None:
        sql = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        self._write(lambda connection: connection.execute(sql, (key, value)))

    def close(self) -> None:
        """Close every connection of this process."""
        self._files.close()
