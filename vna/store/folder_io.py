"""Durable writes into a folder: shared fsync rounds, and errors of the file system."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from vna.domain.errors import ArchiveError, IntegrityError, OutOfResourcesError, UnavailableError, UnsupportedError
from vna.files import sync_folder
from vna.store.per_process import PerProcess

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
# What disks and file systems say of bytes that they cannot give, or whose checksum is wrong.
_DAMAGED = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
_SYNC_THREADS = 8
# From so many files on, one sync of the file system takes less time and processor than one of each file.
_TOGETHER = 2
# syncfs tells of failed write-back since Linux 5.8, and of a journal that failed since 5.17.
_TELLING_KERNEL = (5, 17)
_T = TypeVar("_T")


def archive_error(error: OSError, what: str) -> ArchiveError:
    """Return the archive's error for one of the operating system."""
    if error.errno in _FULL:
        return OutOfResourcesError(f"object folder: no space or no file handle left: {error}")
    if error.errno in _DAMAGED and what.startswith("read"):
        return IntegrityError(f"object folder: {what}: {error}")
    if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}:
        return UnsupportedError(f"object folder: {what}: a key cannot be a folder of other keys here ({error})")
    return UnavailableError(f"object folder: {what}: {error}")


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Turn errors of the operating system into the archive's."""
    try:
        yield
    except OSError as error:
        raise archive_error(error, what) from error


def _kernel() -> tuple[int, ...]:
    numbers = platform.release().split("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdigit())


def sync_file_system(descriptor: int) -> None:
    """Make everything durable that was written to the file system of an open file; raises ``OSError``.

    It tells of every failed write-back since the descriptor was opened, so that is opened before what is to be
    synced is written.
    """
    if _LIBC.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC = ctypes.CDLL(None, use_errno=True)
_SYNCFS_TELLS = platform.system() == "Linux" and hasattr(_LIBC, "syncfs") and _kernel() >= _TELLING_KERNEL


class Syncer:
    """Makes files and folders durable, many at a time.

    A sync that failed is told once: the kernel then takes what it could not write for written. So nobody here
    asks again; whoever is told gives up what was written.
    """

    def __init__(self) -> None:
        self._pool = PerProcess(lambda: ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="folder-sync"))

    def files(self, descriptors: Sequence[int], file_system: int) -> None:
        """Return when the bytes of all files are durable.

        Parameters
        ----------
        descriptors
            The files, all on one file system.
        file_system
            A folder of it that was opened before the files were written.
        """
        if _SYNCFS_TELLS and len(descriptors) >= _TOGETHER:
            sync_file_system(file_system)
        else:
            _raise_first(self.each(os.fdatasync, descriptors))

    def folders(self, paths: Sequence[str]) -> dict[str, OSError]:
        """Make the entries of folders durable; return which failed, and why."""
        return {path: error for path, error in zip(paths, self.each(sync_folder, paths), strict=True) if error}

    def each(self, sync: Callable[[_T], None], items: Sequence[_T]) -> list[OSError | None]:
        """Sync several by eight threads, which share commits of the journal; return how each failed."""

        def tried(item: _T) -> OSError | None:
            try:
                sync(item)
            except OSError as error:
                return error
            return None

        if len(items) < 3:
            return [tried(item) for item in items]
        pool = self._pool.get()
        rounds = [pool.submit(tried, item) for item in items]
        # All of them, also when one fails: the caller closes the files then.
        wait(rounds)
        return [each.result() for each in rounds]

    def close(self) -> None:
        """End the threads of this process."""
        pool = self._pool.take()
        if pool is not None:
            pool.shutdown()


def _raise_first(errors: Sequence[OSError | None]) -> None:
    for error in errors:
        if error is not None:
            raise error
