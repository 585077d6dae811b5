"""Slows down whoever guesses passwords: by name and by address, for a process."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from vna.security.rates import Rates

T = TypeVar("T")

_MOST = 10_000
# Passwords that are looked at together at most: those of more are not begun before the address is known to guess.
_TURNS = 16
# So many wrong passwords of whatever names from one address, and so many seconds' worth of them at once.
_WRONG_PER_SECOND, _WRONG_SECONDS = 5.0, 10.0


class TooManyTriesError(Exception):
    """A password is not looked at; ``wait`` are the seconds until the next try."""

    def __init__(self, wait: float) -> None:
        super().__init__("too many wrong passwords; try again later")
        self.wait = wait


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


class Throttle:
    """Counts failures. After the fifth each one doubles the time until the next try, up to a quarter of an hour.

    Whoever tries one password for many names, or a name of nobody each time, is slowed
    down by the address: to look at a password takes time on purpose.

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
        self._turns = [asyncio.Lock() for _ in range(_TURNS)]
        self._addresses = Rates(_WRONG_PER_SECOND, _WRONG_SECONDS, clock)

    async def tried(
        self, name: str, address: str, check: Callable[[], Awaitable[T | None]], *, known: bool = False
    ) -> T | None:
        """Return what a check of a password returns, ``None`` for a wrong one, which is counted.

        Of one name from one address there is one check at a time: many requests
        at once are no way around the wait.

        Parameters
        ----------
        name, address
            Whose password it is said to be, and from where.
        check
            Looks at it.
        known
            Whether it was found right not long ago, so that to look at it costs nothing.

        Raises
        ------
        TooManyTriesError
            It is not looked at now.
        """
        subject = hashlib.sha256(f"{name.lower()}\0{address}".encode("utf-8", "surrogatepass")).hexdigest()

        def refuse() -> None:
            wait = max(self.wait(subject), 0.0 if known else self._addresses.wait(address))
            if wait > 0:
                raise TooManyTriesError(wait)

        refuse()
        async with self._turns[int(subject[:8], 16) % _TURNS]:
            refuse()
            found = await check()
            if found is None:
                self.failed(subject)
                self._addresses.take(address)
            else:
                self.succeeded(subject)
        return found

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
