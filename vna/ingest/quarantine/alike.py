"""Which entries in quarantine have the same bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Alike:
    """A folder for each digest, an empty file in it for each entry.

    A hint: without it the same bytes are listed twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self, digest: str) -> list[str]:
        """Return the entries of a digest."""
        try:
            return sorted(os.listdir(self._folder(digest)))
        except OSError:
            return []

    def add(self, digest: str, name: str) -> None:
        """Note an entry."""
        with suppress(OSError):
            folder = self._folder(digest)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()

    def forget(self, digest: str, name: str) -> None:
        """Forget an entry."""
        with suppress(OSError):
            folder = self._folder(digest)
            (folder / name).unlink()
            folder.rmdir()

    def _folder(self, digest: str) -> Path:
        return self._path / digest[:2] / digest[2:]
