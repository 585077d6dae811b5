"""Building a second content file beside the one in use, and swapping it in.

The file in use names the one being built (``rebuild``), so that writers, who
hold its lock, see it and write to both. The maker shows that it lives by an
advisory lock on a file of its own, which the kernel takes away when it dies.
The swap writes ``successor`` into the old file under its write lock: no writer
is between the two files, and every process finds the new one from there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vna.domain.errors import ConflictError
from vna.index import sqlite_schema as schema
from vna.index.sqlite_files import REBUILD, SUCCESSOR, Files, translated

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.02


def _lock_file(files: Files) -> str:
    return str(files.folder / f"{files.path.name}.rebuild-lock")


def alive(files: Files) -> bool:
    """Say whether the maker of a second index lives."""
    try:
        handle = os.open(_lock_file(files), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


@contextmanager
def _lock(files: Files) -> Iterator[None]:
    handle = os.open(_lock_file(files), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # A writer that looks whether the maker lives has the lock for a moment.
                if attempt == _ATTEMPTS - 1:
                    raise ConflictError("the index is being rebuilt already") from None
                time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(handle)


@contextmanager
def building(files: Files) -> Iterator[str]:
    """Give the name of a new content file, swapped in when the block ends well and dropped when it raises."""
    with _lock(files):
        with translated(files.path):
            name = _begin(files)
        try:
            yield name
        except BaseException:
            with translated(files.path):
                _give_up(files, name)
            raise
        with translated(files.path):
            _swap(files, name)


def _begin(files: Files) -> str:
    files.current(files.session)
    _drop_leftovers(files)
    name = files.new_name()
    schema.create_content(files.folder / name)
    with files.writing(files.session) as (connection, _):
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (REBUILD, name))
    return name


def _give_up(files: Files, name: str) -> None:
    with files.writing(files.session) as (connection, _):
        connection.execute("DELETE FROM meta WHERE key = ?", (REBUILD,))
    files.session.drop(name)
    schema.drop(files.folder / name)


def _drop_leftovers(files: Files) -> None:
    """Remove content files that are not in use: of a rebuild that a crash left, or replaced by one."""
    session = files.session
    # A transaction follows an unfinished swap to its end, so that "in use" is certain; and its lock keeps writers
    # out of a file that is being removed.
    with files.writing(session) as (connection, beside):
        if beside:
            connection.execute("DELETE FROM meta WHERE key = ?", (REBUILD,))
        for file in files.contents():
            if file.name != session.current:
                schema.drop(file)


def _swap(files: Files, name: str) -> None:
    session = files.session
    with files.writing(session, name) as (connection, _):
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (schema.BUILT,))
    with files.writing(session) as (connection, _):
        old = session.current
        connection.execute("DELETE FROM meta WHERE key = ?", (REBUILD,))
        connection.execute("INSERT INTO meta VALUES (?, ?)", (SUCCESSOR, name))
    files.advance(session, name)
    # Whoever has the old file open reads its last transaction to the end, and then looks for the successor in it.
    schema.drop(files.folder / old)
