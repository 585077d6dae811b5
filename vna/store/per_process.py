"""Values that do not survive a fork: connections and thread pools."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class PerProcess(Generic[_T]):
    """A value made when it is first asked for, anew in each process."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._values: dict[int, _T] = {}
        # A lock that another thread held during a fork would stay locked in the child: so one for each process.
        self._locks: dict[int, threading.Lock] = {}

    def get(self) -> _T:
        """Return this process's value."""
        pid = os.getpid()
        if pid not in self._values:
            with self._locks.setdefault(pid, threading.Lock()):
                if pid not in self._values:
                    self._values[pid] = self._make()
        return self._values[pid]

    def take(self) -> _T | None:
        """Return this process's value if it was made, and forget it."""
        return self._values.pop(os.getpid(), None)
