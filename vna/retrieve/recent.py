"""Things made a moment ago, kept as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """What was used last stays; safe against any number of threads.

    Parameters
    ----------
    most_bytes
        Sum of the sizes told of all that is kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> T | None:
        """Return a thing, ``None`` if it is not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: str, thing: T, size: int) -> None:
        """Keep a thing, unless it is larger than all that may be kept."""
        with self._lock:
            if key in self._kept:
                self._size -= self._kept.pop(key)[1]
            if size > self._most:
                return
            self._kept[key] = (thing, size)
            self._size += size
            while self._size > self._most:
                self._size -= self._kept.popitem(last=False)[1][1]
