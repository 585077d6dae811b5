"""Writing into a folder of objects: put if absent, and replace, durable on return."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vna.domain.errors import NotFoundError
from vna.domain.file_range import FileRange
from vna.ports.objects import Put
from vna.store.folder_io import Syncer, Temporary, is_plain_file

# Open files of one round: far below any limit on descriptors, enough to share journal commits.
_ROUND = 64
# Folders known to be durable; forgotten all at once beyond this many.
_KNOWN = 50_000


def _no_source(source: Path) -> NotFoundError:
    return NotFoundError(f"there is no file {source} to put")


class FolderWriter:
    """Writes files below a root. Errors of the operating system pass through, save for a source that is gone.

    A file gets its name when its bytes are durable: by a link, which fails if
    the name is taken, so of many writers one wins.
    """

    def __init__(self, root: str, temporary: Temporary, syncer: Syncer) -> None:
        self._root = root
        self._temporary = temporary
        self._syncer = syncer
        self._durable: set[str] = set()

    def put_batch(self, puts: Sequence[Put]) -> list[bool]:
        """Put objects if absent; return for each whether it was stored."""
        stored: list[bool] = []
        folders: set[str] = set()
        try:
            for begin in range(0, len(puts), _ROUND):
                stored += self._put_round(puts[begin : begin + _ROUND], folders)
            self._sync_folders(folders)
        except OSError:
            # What is known of folders may be wrong now: somebody may have removed them.
            self._durable.clear()
            raise
        return stored

    def _put_round(self, puts: Sequence[Put], folders: set[str]) -> list[bool]:
        targets = [self._target(put.key, folders) for put in puts]
        stored = [False] * len(puts)
        sources: dict[int, tuple[Path, int]] = {}
        written: dict[int, tuple[str, int]] = {}
        try:
            for number, put in enumerate(puts):
                if isinstance(put.source, bytes):
                    if not os.path.isfile(targets[number]):
                        written[number] = self._temporary.write(put.source)
                elif isinstance(put.source, FileRange):
                    if (copied := self._copy_range(put.source, targets[number])) is not None:
                        written[number] = copied
                elif (descriptor := self._open_source(put.source, targets[number])) is not None:
                    sources[number] = (put.source, descriptor)
            # A link makes a name durable, not the bytes: those of the sources are synced with what was written.
            self._syncer.files([descriptor for _, descriptor in (*sources.values(), *written.values())])
            copies: list[int] = []
            for number, (source, _) in sources.items():
                linked = self._link_source(source, targets[number])
                stored[number] = bool(linked)
                if linked is None:
                    written[number] = self._temporary.copy(source)
                    copies.append(written[number][1])
            self._syncer.files(copies)
            for number, (path, _) in written.items():
                stored[number] = self._link(path, targets[number])
        finally:
            for _, descriptor in sources.values():
                os.close(descriptor)
            for path, descriptor in written.values():
                os.close(descriptor)
                with suppress(OSError):
                    os.unlink(path)
        return stored

    def _copy_range(self, source: FileRange, target: str) -> tuple[str, int] | None:
        """Copy a range into a temporary file; ``None`` if the key is there, whether or not the file is."""
        if os.path.isfile(target):
            return None
        try:
            return self._temporary.copy_range(source)
        except FileNotFoundError as error:
            if os.path.isfile(target):
                return None
            raise _no_source(source.path) from error

    @staticmethod
    def _open_source(source: Path, target: str) -> int | None:
        """Open a file that is to be put; ``None`` if a faster worker has put it and dropped the file."""
        try:
            return os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if os.path.isfile(target):
                return None
            raise _no_source(source) from error

    def _target(self, key: str, folders: set[str]) -> str:
        """Return a key's path, its folder made; note every folder whose entries must be synced."""
        target = f"{self._root}/{key}"
        folder = os.path.dirname(target)
        folders.add(folder)
        self._make(folder, folders)
        return target

    def _make(self, folder: str, folders: set[str]) -> None:
        # Somebody else may have made a folder and not have synced its parent yet, so its being there is not enough.
        while folder not in self._durable and folder != self._root:
            if not os.path.isdir(folder):
                os.makedirs(folder, mode=0o750, exist_ok=True)
            folder = os.path.dirname(folder)
            folders.add(folder)

    def _sync_folders(self, folders: set[str]) -> None:
        self._syncer.folders(sorted(folders))
        if len(self._durable) > _KNOWN:
            self._durable.clear()
        self._durable |= folders

    def _link_source(self, source: Path, target: str) -> bool | None:
        """Link a file into place; ``None`` if it has to be copied instead."""
        try:
            if not is_plain_file(source):
                return None
            return self._link(str(source), target)
        except OSError as error:
            # Another file system, no more links to this file, or a file system without links.
            if error.errno in {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}:
                return None
            # A faster worker may have put the object and dropped the file.
            if not source.exists():
                if os.path.isfile(target):
                    return False
                raise _no_source(source) from error
            raise

    @staticmethod
    def _link(path: str, target: str) -> bool:
        try:
            os.link(path, target)
        except FileExistsError as error:
            if os.path.isdir(target):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target) from error
            return False
        return True

    def write_over(self, target: str, data: bytes) -> None:
        """Put a file over an older one, if there is one."""
        folders = {os.path.dirname(target)}
        self._make(os.path.dirname(target), folders)
        path, descriptor = self._temporary.write(data)
        try:
            os.fdatasync(descriptor)
            os.rename(path, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        self._sync_folders(folders)
