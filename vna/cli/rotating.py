"""A log file that does not grow without bound."""

from __future__ import annotations

import os
from pathlib import Path


class RotatingLog:
    """Appends lines to a file; past a size it is renamed, and a new one begins.

    Parameters
    ----------
    path
        The file; the older ones are beside it as ``NAME.1`` (the youngest) and so on.
    most_bytes
        Size past which a new file begins.
    kept
        How many older files stay.
    """

    def __init__(self, path: Path, most_bytes: int = 16 << 20, kept: int = 3) -> None:
        self._path = path
        self._most = most_bytes
        self._kept = kept
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, line: bytes) -> None:
        """Append a line."""
        if self._size and self._size + len(line) > self._most:
            self._rotate()
        self._file.write(line)
        self._size += len(line)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._kept - 1, 0, -1):
            older = self._older(number)
            if older.exists():
                os.replace(older, self._older(number + 1))
        os.replace(self._path, self._older(1))
        self._file = self._path.open("ab", buffering=0)
        self._size = 0

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
