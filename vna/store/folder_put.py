"""Writing into a folder of objects: put if absent, replace and mend, durable on return."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

from vna.domain.file_range import FileRange
from vna.ports.objects import Put
from vna.store.folder_files import Scratch, Temporary
from vna.store.folder_io import Syncer
from vna.store.folder_sources import FailedSyncs, as_range, linkable, no_source

# Open files of one round: far below any limit on descriptors; a batch of 64 instances with their documents.
_ROUND = 128
# Folders known to be durable; forgotten all at once beyond this many.
_KNOWN = 50_000
# Another file system, no more links to this file, or a file system without links.
_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}


class FolderWriter:
    """Writes files below a root. Errors of the operating system pass through, save for a source that is gone.

    A file gets its name when its bytes are durable: by a link, which fails if
    the name is taken, so of many writers one wins.

    Parameters
    ----------
    root
        The folder.
    temporary
        Where files are written first, on the same file system.
    syncer
        What makes them durable.
    locked
        Keeps others from deleting objects.
    """

    def __init__(
        self, root: str, temporary: Temporary, syncer: Syncer, locked: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._root = root
        self._temporary = temporary
        self._syncer = syncer
        self._locked = locked
        self._durable: set[str] = set()
        self._failed = FailedSyncs()
        # Folders whose sync failed: the next one may say yes without having written what is in them.
        self._doubtful: set[str] = set()

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
        written: dict[int, Scratch] = {}
        with ExitStack() as stack:
            # Opened before anything is written: its sync tells of all failures since.
            file_system = os.open(self._temporary.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, file_system)
            links: dict[int, tuple[FileRange, int]] = {}
            for number, put in enumerate(puts):
                if os.path.isfile(targets[number]):
                    self._make_sure(targets[number])
                    continue
                found = self._open_source(put, targets[number])
                if isinstance(found, tuple):
                    links[number] = found
                    stack.callback(os.close, found[1])
                elif found is not None:
                    written[number] = found
                    stack.callback(found.close)
            for number in self._link_sources(links, targets, stored):
                made = self._copied(puts[number], targets[number])
                if made is not None:
                    written[number] = made
                    stack.callback(made.close)
            self._syncer.files([made.descriptor for made in written.values()], file_system)
            for number, made in written.items():
                stored[number] = _link(made, targets[number])
        return stored

    def _open_source(self, put: Put, target: str) -> Scratch | tuple[FileRange, int] | None:
        """Return a file to be linked, open, or a copy; ``None`` if a faster worker has put it and dropped the file."""
        if isinstance(put.source, bytes):
            return self._temporary.write(put.source)
        try:
            source = linkable(put)
            if source is not None:
                return source, os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if os.path.isfile(target):
                return None
            raise no_source(put) from error
        return self._copied(put, target)

    def _copied(self, put: Put, target: str) -> Scratch | None:
        try:
            return self._temporary.copy(as_range(put))
        except FileNotFoundError as error:
            if os.path.isfile(target):
                return None
            raise no_source(put) from error

    def _link_sources(
        self, links: dict[int, tuple[FileRange, int]], targets: Sequence[str], stored: list[bool]
    ) -> list[int]:
        """Make files durable and link them into place; return which of them have to be copied instead."""
        copies = [number for number, (_, descriptor) in links.items() if self._failed.has(descriptor)]
        rest = [number for number in links if number not in copies]
        # A link makes a name durable, not the bytes.
        errors = self._syncer.each(os.fdatasync, [links[number][1] for number in rest])
        for number, error in zip(rest, errors, strict=True):
            source, descriptor = links[number]
            if error is not None:
                self._failed.note(descriptor)
                copies.append(number)
                continue
            try:
                stored[number] = _link(source.path, targets[number])
            except FileNotFoundError:
                # Somebody dropped the file: the copy says what that means.
                copies.append(number)
            except OSError as failure:
                if failure.errno not in _NO_LINK:
                    raise
                copies.append(number)
        return copies

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

    def _make_sure(self, target: str) -> None:
        """Write an object's entry anew if the sync of its folder failed before: a second one proves nothing.

        A file system with a journal stops for good when that cannot be written, and never comes here.
        """
        if os.path.dirname(target) not in self._doubtful:
            return
        with self._locked(), suppress(FileNotFoundError):
            made = self._temporary.copy(FileRange(Path(target), 0, os.stat(target).st_size), named=True)
            self._rename(made, target)

    def _rename(self, made: Scratch, target: str) -> None:
        try:
            os.fdatasync(made.descriptor)
            os.rename(made.path, target)
        finally:
            made.close()

    def _sync_folders(self, folders: set[str]) -> None:
        failed = self._syncer.folders(sorted(folders))
        if failed:
            self._doubtful |= failed.keys()
            raise next(iter(failed.values()))
        if len(self._durable) > _KNOWN:
            self._durable.clear()
        self._durable |= folders

    def write_over(self, target: str, data: bytes) -> None:
        """Put a file over an older one, if there is one."""
        folders = {os.path.dirname(target)}
        self._make(os.path.dirname(target), folders)
        self._rename(self._temporary.write(data, named=True), target)
        self._sync_folders(folders)

    def mend(self, put: Put, damaged: Callable[[os.stat_result], str]) -> str:
        """Put bytes over a damaged object, which gets another name; return its key, empty if there was none.

        Call it with the lock held: of two that mend, the second must not take the first one's work for damage.
        """
        target = f"{self._root}/{put.key}"
        folders: set[str] = set()
        kept = ""
        if isinstance(put.source, bytes):
            made = self._temporary.write(put.source, named=True)
        else:
            made = self._mending_copy(put)
        try:
            self._target(put.key, folders)
            os.fdatasync(made.descriptor)
            with suppress(FileNotFoundError):
                kept = damaged(os.stat(target))
                beside = self._target(kept, folders)
                _link(Path(target), beside)
            # The damaged bytes have their other name for good before they lose the one that they had.
            self._sync_folders(folders)
            os.rename(made.path, target)
        finally:
            made.close()
        self._sync_folders(folders)
        return kept

    def _mending_copy(self, put: Put) -> Scratch:
        try:
            return self._temporary.copy(as_range(put), named=True)
        except FileNotFoundError as error:
            raise no_source(put) from error


def _link(source: Scratch | Path, target: str) -> bool:
    """Give a file a name; return whether that was still to be had."""
    try:
        if isinstance(source, Scratch):
            source.link(target)
        else:
            os.link(source, target)
    except FileExistsError as error:
        if os.path.isdir(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target) from error
        return False
    return True
