"""Slows down whoever guesses passwords: by name and by address, for a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_MOST = 10_000


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class Throttle:
    """Counts failures. After the fifth each one doubles the time until the next try, up to a quarter of an hour.

    Parameters
    ----------
    clock
        Returns seconds that only grow.
    free
        Failures that cost nothing: people mistype.
    longest
        The longest wait, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, free: int = 5, longest: float = 900.0) -> None:
        self._clock = clock
        self._free = free
        self._longest = longest
        self._failures: dict[str, _Failures] = {}
        self._lock = threading.Lock()

    def wait(self, *subjects: str) -> float:
        """Return the seconds until one of these may try again, 0 for now."""
        now = self._clock()
        with self._lock:
            return max(0.0, *(found.until - now for one in subjects if (found := self._failures.get(one))), 0.0)

    def failed(self, *subjects: str) -> None:
        """Count a failure of each."""
        now = self._clock()
        with self._lock:
            if len(self._failures) > _MOST:
                self._failures = {one: found for one, found in self._failures.items() if found.until > now}
            if len(self._failures) > _MOST:
                self._failures.clear()
            for one in subjects:
                found = self._failures.setdefault(one, _Failures())
                found.count += 1
                if found.count >= self._free:
                    found.until = now + min(self._longest, 2.0 ** (found.count - self._free))

    def succeeded(self, *subjects: str) -> None:
        """Forget the failures of each."""
        with self._lock:
            for one in subjects:
                self._failures.pop(one, None)
