"""The files of the SQLite index and the connections of each thread to them.

A rebuild puts another content file in place of the one in use. Every
transaction first asks its own content file whether it has a successor: one row
of a table that is in the page cache, and the only place that readers and
writers of all processes are bound to look at, since a writer holds the lock of
that very file.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vna.domain.errors import UnavailableError
from vna.index import sqlite_schema as schema
from vna.index.sqlite_turn import Turn

SUCCESSOR = "successor"
REBUILD = "rebuild"
_MOVES = 100
"""Rebuilds that may end during one call before something must be wrong."""

# Connections that a parent process had open when it forked: SQLite forbids to use or close them here.
_INHERITED: list[object] = []


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into ``UnavailableError`` with a message that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnavailableError(explain(error, path)) from error
    except OSError as error:
        raise UnavailableError(f"the index {path} cannot be used: {error}") from error


def explain(error: sqlite3.Error, path: Path) -> str:
    """Return a message for an error of SQLite."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"the index {path} was locked by another process for {schema.BUSY_SECONDS:.0f} s"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return (
            f"the index {path} is damaged ({error}); stop the archive, remove the files {path.name}*"
            " and build it anew from the object store with `vna reindex`"
        )
    if name == "SQLITE_FULL":
        return f"there is no disk space for the index {path}"
    return f"the index {path} cannot be used: {error}"


class Session:
    """One thread's connections: to the control file, and to content files by name."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._control: sqlite3.Connection | None = None
        self._contents: dict[str, sqlite3.Connection] = {}
        self._opened: dict[Path, int] = {}
        self.current = ""

    @property
    def control(self) -> sqlite3.Connection:
        """Connection to the control file, which is made if it is missing."""
        if self._control is None:
            self._control = self._files.open_control()
            self._opened[self._files.path] = self._files.path.stat().st_ino
        return self._control

    def content(self, name: str) -> sqlite3.Connection:
        """Return a connection to a content file."""
        if name not in self._contents:
            file = self._files.folder / name
            self._contents[name] = schema.connect(file)
            self._opened[file] = file.stat().st_ino
        return self._contents[name]

    def is_orphaned(self) -> bool:
        """Say whether a file in use was removed, or another put in its place: what is written there nobody finds."""
        for file in (self._files.path, self._files.folder / self.current):
            opened = self._opened.get(file)
            try:
                if opened is not None and file.stat().st_ino != opened:
                    return True
            except FileNotFoundError:
                return True
        return False

    def drop(self, name: str) -> None:
        """Close the connection to a content file."""
        self._opened.pop(self._files.folder / name, None)
        connection = self._contents.pop(name, None)
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close all."""
        for name in list(self._contents):
            self.drop(name)
        if self._control is not None:
            self._control.close()
            self._control = None
        self._opened.clear()
        self.current = ""


class Files:
    """The control file at ``path``, the content files beside it, and this process's sessions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.parent
        self._local = threading.local()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._turn = self._new_turn()
        self._pid = os.getpid()

    def _new_turn(self) -> Turn:
        return Turn(self.folder / f"{self.path.name}.write-lock")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Queue among the writing threads and processes; raises ``UnavailableError`` after a while."""
        if self._pid != os.getpid():
            self._forget_parent()
        with self._turn.taken():
            yield

    @property
    def session(self) -> Session:
        """The session of this thread."""
        if self._pid != os.getpid():
            self._forget_parent()
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = Session(self)
            with self._guard:
                self._sessions.add(session)
        return session

    def extra_session(self) -> Session:
        """Return a session beside that of the thread; whoever asks for it closes it."""
        return Session(self)

    def _forget_parent(self) -> None:
        _INHERITED.append((self._local, list(self._sessions)))
        self._local = threading.local()
        self._sessions = weakref.WeakSet()
        self._guard = threading.Lock()
        # The parent's lock is held by whoever shares its open file: this process opens its own.
        self._turn = self._new_turn()
        self._pid = os.getpid()

    def close(self) -> None:
        """Close every connection of this process; the next call opens them again."""
        with self._guard:
            sessions, self._sessions = list(self._sessions), weakref.WeakSet()
            self._local = threading.local()
        if self._pid == os.getpid():
            for session in sessions:
                session.close()
            self._turn.close()

    def open_control(self) -> sqlite3.Connection:
        """Open the control file; the first to come makes it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = schema.connect(self.path, create=True)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'content'").fetchone():
                connection.executescript(f"BEGIN IMMEDIATE;{schema.CONTROL}COMMIT;")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def new_name(self) -> str:
        """Return a name for another content file. It is never used again: WAL files belong to a name."""
        return f"{self.path.name}.{secrets.token_hex(6)}"

    def contents(self) -> list[Path]:
        """Return the content files that there are."""
        pattern = f"{self.path.name}." + "[0-9a-f]" * 12
        return sorted(self.folder.glob(pattern))

    def current(self, session: Session, *, again: bool = False) -> str:
        """Return the name of the content file in use, which is made if there is none."""
        if again:
            session.drop(session.current)
            session.current = ""
        if session.current:
            return session.current
        row = session.control.execute("SELECT file FROM content").fetchone()
        if row is None or not (self.folder / row[0]).exists():
            row = (self._first(session.control),)
        session.current = row[0]
        return session.current

    def _first(self, control: sqlite3.Connection) -> str:
        control.execute("BEGIN IMMEDIATE")
        try:
            row = control.execute("SELECT file FROM content").fetchone()
            name: str = row[0] if row else ""
            if not name or not (self.folder / name).exists():
                name = self.new_name()
                schema.create_content(self.folder / name)
                control.execute("INSERT OR REPLACE INTO content VALUES (1, ?)", (name,))
            control.execute("COMMIT")
        except BaseException:
            control.execute("ROLLBACK")
            raise
        return name

    def advance(self, session: Session, successor: str) -> None:
        """Follow a content file's successor, and finish the swap that its maker may not have finished."""
        sql = "UPDATE content SET file = ? WHERE file = ?"
        session.control.execute(sql, (successor, session.current))
        self.current(session, again=True)

    @contextmanager
    def reading(self, session: Session, name: str = "") -> Iterator[sqlite3.Connection]:
        """Give a connection in a read transaction; ``name`` pins it to a content file."""
        connection, _ = self._begin(session, name, "BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, session: Session, name: str = "") -> Iterator[tuple[sqlite3.Connection, str]]:
        """Give a connection in a write transaction, and the name of the content file being built beside it."""
        connection, meta = self._begin(session, name, "BEGIN IMMEDIATE")
        try:
            yield connection, meta.get(REBUILD, "")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _begin(self, session: Session, name: str, begin: str) -> tuple[sqlite3.Connection, dict[str, str]]:
        if not name and session.is_orphaned():
            session.close()
        for _ in range(_MOVES):
            current = name or self.current(session)
            try:
                connection = session.content(current)
                connection.execute(begin)
            except sqlite3.OperationalError:
                # The file was swapped, and removed, since the name was read.
                if not name and self.current(session, again=True) != current:
                    continue
                raise
            try:
                meta = dict(connection.execute("SELECT key, value FROM meta"))
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            if SUCCESSOR not in meta or name:
                return connection, meta
            connection.execute("ROLLBACK")
            self.advance(session, meta[SUCCESSOR])
        raise UnavailableError(f"the index {self.path} is swapped without end")
