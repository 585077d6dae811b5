"""What the local folder store notes beside an object: storage class, legal hold, retention."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from vna.domain.errors import ConflictError


@dataclass(frozen=True, slots=True)
class Facts:
    """Notes on one object."""

    storage_class: str = "STANDARD"
    hold: bool = False
    retain_until: str = ""

    @property
    def until(self) -> datetime | None:
        """When retention ends, if there is one."""
        return datetime.fromisoformat(self.retain_until) if self.retain_until else None

    def forbid_change(self, key: str) -> None:
        """Raise ``ConflictError`` if the object may not be removed now."""
        if self.hold:
            raise ConflictError(f"{key} is under legal hold")
        until = self.until
        if until is not None and until > datetime.now(UTC):
            raise ConflictError(f"{key} is retained until {until.isoformat()}")


NO_FACTS = Facts()


class FactFiles:
    """A tree of small JSON files beside the objects, present only for objects that have notes."""

    def __init__(self, root: Path, lock: Path) -> None:
        self._root = str(root)
        self._lock = lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from changing notes and from deleting objects."""
        descriptor = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def any_below(self, folder: str) -> bool:
        """Whether any object of a folder may have notes."""
        return os.path.isdir(f"{self._root}/{folder}")

    def path(self, key: str) -> str:
        """Return where the notes of a key are."""
        return f"{self._root}/{key}"

    def read(self, key: str) -> Facts:
        """Return the notes on an object."""
        try:
            with open(self.path(key), "rb") as file:
                return Facts(**json.loads(file.read()))
        except (FileNotFoundError, NotADirectoryError):
            return NO_FACTS

    def change(self, key: str, change: Callable[[Facts], Facts], write: Callable[[str, bytes], None]) -> None:
        """Rewrite the notes on an object with a durable writer; call with the lock held."""
        facts = change(self.read(key))
        write(self.path(key), json.dumps(asdict(facts)).encode())

    def forget(self, key: str) -> None:
        """Remove the notes on an object."""
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self.path(key))
