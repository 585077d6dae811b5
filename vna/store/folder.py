"""Objects in a local folder, the embedded default.

A key is the path of a plain file below the folder. Names that no key can have
(they hold ``~``) are the store's own: ``~tmp`` for files that are being
written, ``~facts`` for holds, retention and storage classes, ``~lock``.

A storage class is recorded and reported here, it moves nothing. A key cannot
be a folder of other keys (``UnsupportedError``).
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from vna.domain.errors import ConfigurationError, ConflictError, NotFoundError, UnavailableError
from vna.ports.objects import ObjectInfo, ObjectStore, Put
from vna.store.folder_facts import NO_FACTS, FactFiles, Facts
from vna.store.folder_files import Temporary
from vna.store.folder_io import Syncer, archive_error, mapped_errors
from vna.store.folder_list import walk
from vna.store.folder_put import FolderWriter
from vna.store.keys import check_key, check_prefix, damaged_key

_READ_THREADS = 4
_READ_AHEAD = 16


class FolderStore(ObjectStore):
    """Objects as files. Safe for use by many threads and processes, on one host or a shared file system.

    Parameters
    ----------
    path
        The folder; made if missing.
    create
        Whether it may be made. Who knows that it was there says no: an empty one would take its place unseen.

    Raises
    ------
    ConfigurationError
        The folder cannot be made or written to, or it is missing and must not be made.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if not create and not (path / "~facts").is_dir():
            raise ConfigurationError(
                f"VNA_STORE__PATH: the object folder {path} was here and is not, or is empty. Is its disk mounted?"
            )
        self._root = str(path)
        self._temporary = Temporary(path / "~tmp")
        self._facts = FactFiles(path / "~facts", path / "~lock")
        self._syncer = Syncer()
        self._writer = FolderWriter(self._root, self._temporary, self._syncer, self._facts.locked)
        try:
            for folder in (path / "~tmp", path / "~facts"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"object folder {path} cannot be made: {error}") from error
        self._temporary.sweep()

    def put_batch(self, puts: Sequence[Put]) -> list[bool]:
        """Put objects if absent; see the port. A file on the same file system is linked, not copied."""
        for put in puts:
            check_key(put.key)
        with mapped_errors("put"):
            return self._writer.put_batch(puts)

    def replace(self, key: str, data: bytes) -> None:
        """Put a document over an older one; see the port. One under hold raises ``ConflictError``."""
        check_key(key)
        with mapped_errors("replace"), self._facts.locked():
            self._facts.read(key).forbid_change(key)
            self._writer.write_over(f"{self._root}/{key}", data)

    def mend(self, put: Put) -> str:
        """Put proved bytes over a damaged object, whose file gets another name; holds and retention stay."""
        check_key(put.key)
        with mapped_errors("mend"), self._facts.locked():
            return self._writer.mend(put, lambda state: damaged_key(put.key, f"{state.st_mtime_ns:x}"))

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        with self.open(key) as file:
            try:
                return file.read()
            except OSError as error:
                raise archive_error(error, f"read {key}") from error

    def get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield the bytes of many objects, in order, reading ahead."""
        for key in keys:
            check_key(key)
        return self._get_many(keys)

    def _get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        pool = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="folder-read")
        ahead: deque[tuple[str, Future[bytes | None]]] = deque()
        try:
            for key in keys:
                ahead.append((key, pool.submit(self._get_or_none, key)))
                if len(ahead) >= _READ_AHEAD:
                    first, data = ahead.popleft()
                    yield first, data.result()
            for rest, data in ahead:
                yield rest, data.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except NotFoundError:
            return None

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk: int = 1 << 20) -> Iterator[bytes]:
        """Yield an object, or a range of it, in pieces."""
        check_key(key)
        return self._stream(key, start, length, chunk)

    def _stream(self, key: str, start: int, length: int | None, chunk: int) -> Iterator[bytes]:
        with self.open(key) as file:
            descriptor = file.fileno()
            left = length
            while left is None or left > 0:
                try:
                    piece = os.pread(descriptor, chunk if left is None else min(chunk, left), start)
                except OSError as error:
                    raise archive_error(error, f"read {key}") from error
                if not piece:
                    return
                start += len(piece)
                if left is not None:
                    left -= len(piece)
                yield piece

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading, as a buffered file."""
        check_key(key)
        try:
            return open(f"{self._root}/{key}", "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFoundError(f"no object {key}") from error
        except OSError as error:
            raise archive_error(error, f"open {key}") from error

    def head(self, key: str) -> ObjectInfo | None:
        """Return what there is of a key."""
        check_key(key)
        with mapped_errors("head"):
            return self._info(key, self._facts.read(key))

    def _info(self, key: str, facts: Facts) -> ObjectInfo | None:
        try:
            state = os.stat(f"{self._root}/{key}", follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(state.st_mode):
            return None
        modified = datetime.fromtimestamp(state.st_mtime, UTC)
        return ObjectInfo(key, state.st_size, modified, facts.storage_class)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in key order; memory grows with the largest folder, not with the number of objects."""
        check_prefix(prefix)
        return self._list(prefix, after)

    def _list(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        noted = False
        with mapped_errors("list"):
            for key, first in walk(self._root, prefix, after):
                if first:
                    noted = self._facts.any_below(os.path.dirname(key))
                info = self._info(key, self._facts.read(key) if noted else NO_FACTS)
                if info is not None:
                    yield info

    def delete(self, key: str) -> None:
        """Remove an object, unless a hold or retention forbids it."""
        check_key(key)
        with mapped_errors("delete"), self._facts.locked():
            self._facts.read(key).forbid_change(key)
            target = f"{self._root}/{key}"
            try:
                os.unlink(target)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return
            self._facts.forget(key)
            for error in self._syncer.folders([os.path.dirname(target)]).values():
                raise error

    def set_storage_class(self, key: str, storage_class: str) -> None:
        """Record a storage class; nothing moves."""
        self._note(key, lambda facts: replace(facts, storage_class=storage_class))

    def set_legal_hold(self, key: str, on: bool) -> None:
        """Put or lift a legal hold; raises ``NotFoundError``."""
        self._note(key, lambda facts: replace(facts, hold=on))

    def set_retention(self, key: str, until: datetime) -> None:
        """Forbid deletion before a time; raises ``NotFoundError``, and ``ConflictError`` when it would be shorter."""
        wanted = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)

        def lengthened(facts: Facts) -> Facts:
            if facts.until is not None and facts.until > wanted:
                raise ConflictError(f"{key} is retained until {facts.retain_until}; it cannot be shortened")
            return replace(facts, retain_until=wanted.isoformat())

        self._note(key, lengthened)

    def _note(self, key: str, change: Callable[[Facts], Facts]) -> None:
        check_key(key)
        with mapped_errors("note"), self._facts.locked():
            if self._info(key, NO_FACTS) is None:
                raise NotFoundError(f"no object {key}")
            self._facts.change(key, change, self._writer.write_over)

    def check(self) -> None:
        """Raise if a put would fail now: a file is written, made durable and removed."""
        try:
            made = self._temporary.write(b"check", named=True)
            try:
                os.fdatasync(made.descriptor)
            finally:
                made.close()
        except PermissionError as error:
            raise ConfigurationError(f"object folder {self.path} cannot be written to: {error}") from error
        except OSError as error:
            raise UnavailableError(f"object folder {self.path}: {error}") from error

    def close(self) -> None:
        """End the threads."""
        self._syncer.close()
