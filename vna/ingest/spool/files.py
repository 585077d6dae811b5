"""Entries in files of their own: the large ones, and those for which no segment was ready."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vna.files import make_durable_folder, sync_folder
from vna.ingest.spool.entry import Spooled, SpoolEntry


class EntryFiles:
    """A folder of files, spread over 256 folders by two digits of their names.

    Parameters
    ----------
    path
        The folder; made by :meth:`make`.
    first
        The folder of the first format, all files in one; read, never written to.
    """

    def __init__(self, path: Path, first: Path) -> None:
        self.path = path
        self._first = first
        self._with_first = True
        self._known: set[str] = set()
        self._bad: set[str] = set()

    def folder_of(self, name: str) -> str:
        """Return the folder of an entry."""
        return f"{self.path}/{name[15:17]}"

    def take_in(self, part: str, fd: int, name: str) -> None:
        """Give a file that was received its name, and return when both are durable.

        The bytes first: whoever finds the name finds the whole of it.

        Raises
        ------
        OSError
            It is not durable, and has no name. The folder that could not be made durable is not used again by this
            process: the kernel tells of a failed write once.
        """
        os.fdatasync(fd)
        folder = self.folder_of(name)
        if folder in self._bad:
            raise OSError(errno.EIO, "an earlier write to this folder failed", folder)
        if folder not in self._known:
            make_durable_folder(Path(folder))
            self._known.add(folder)
        target = f"{folder}/{name}"
        os.rename(part, target)
        try:
            sync_folder(Path(folder))
        except OSError:
            self._bad.add(folder)
            with contextlib.suppress(OSError):
                os.unlink(target)
            raise

    def leave_first(self) -> None:
        """Leave the folder of the first format alone."""
        self._with_first = False

    def waits(self, entry: SpoolEntry) -> bool:
        """Whether an entry's file is there; so it is, too, if that cannot be told."""
        try:
            os.stat(self.find(entry))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def find(self, entry: SpoolEntry) -> Path:
        """Return the path of an entry's file, whether it is there or not."""
        if entry.checksum is None:
            return self._first / entry.name
        return Path(self.folder_of(entry.name), entry.name)

    def entries(self, found: Spooled | None = None) -> Iterator[SpoolEntry]:
        """Yield the entries there are, in no order; files that are none, and folders that fail, are counted."""
        found = found or Spooled()
        folders = [self._first] if self._with_first else []
        try:
            folders += [self.path / name for name in sorted(os.listdir(self.path))]
        except OSError:
            found.damaged += 1
        for folder in folders:
            try:
                names = os.listdir(folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                found.damaged += 1
                continue
            for name in names:
                try:
                    yield SpoolEntry.parse(name)
                except ValueError:
                    found.unknown += 1
