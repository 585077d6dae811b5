"""The queue: a hint that there is work, never the truth of it.

Losing every message loses no instance: the sweeper finds the spool entries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class Queue(ABC):
    """Sends tasks by name."""

    @abstractmethod
    def enqueue(self, task: str, args: Sequence[Any], queue: str) -> None:
        """Send one task.

        Raises
        ------
        UnavailableError
            The broker did not take it within the configured time (a few
            seconds at most; never blocks for ever).
        """

    @abstractmethod
    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue; raises ``UnavailableError``."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``UnavailableError`` if the broker does not answer."""

    def close(self) -> None:
        """Release connections. The default does nothing."""
