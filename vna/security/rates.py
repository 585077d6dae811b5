"""How often somebody may do something: a bucket of tokens for each subject, for a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

_MOST = 10_000
_NETWORK_BITS = 64


def whose(address: str) -> str:
    """Return whom an address is counted for: of IPv6 the /64 network, as one machine has all its addresses."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> _NETWORK_BITS << _NETWORK_BITS))


class Rates:
    """Buckets that fill at a rate, hold what comes in some seconds, and begin full. Safe for many threads.

    Each is kept as the moment when it will be full again (the generic cell rate
    algorithm of ATM): a number a subject.

    Parameters
    ----------
    per_second
        Tokens that a bucket gets in a second; 0 for no limit.
    seconds
        How many seconds' worth it holds.
    clock
        Returns seconds that only grow.
    """

    def __init__(self, per_second: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._seconds = seconds
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, subject: str) -> float:
        """Return the seconds until there is a token for a subject, 0 for now."""
        if self._per_second <= 0:
            return 0.0
        with self._lock:
            return max(0.0, self._full_at.get(subject, 0.0) + 1 / self._per_second - self._clock() - self._seconds)

    def take(self, subject: str, tokens: float = 1.0) -> float:
        """Take tokens of a subject; return 0, or the seconds until there are so many, with none taken.

        What costs more than a bucket holds is to be had for a full one.
        """
        if self._per_second <= 0 or tokens <= 0:
            return 0.0
        cost = tokens / self._per_second
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at.get(subject, now), now) + cost
            wait = full_at - now - max(self._seconds, cost)
            # An empty bucket that has filled by a rounding error less than it should would wait for nothing.
            if wait > 1e-9:
                return wait
            if len(self._full_at) >= _MOST:
                self._forget(now)
            self._full_at[subject] = full_at
            return 0.0

    def _forget(self, now: float) -> None:
        """Forget full buckets; all, if that is not enough."""
        self._full_at = {subject: at for subject, at in self._full_at.items() if at > now}
        if len(self._full_at) >= _MOST:
            self._full_at.clear()
