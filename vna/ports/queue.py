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
    def enqueue(self, task: str, args: Sequence[Any], queue: str, *, seconds: float | None = None) -> None:
        """Send one task.

        Parameters
        ----------
        task, args
            Its name and its arguments.
        queue
            Where it waits.
        seconds
            How long a worker may be at it before it is ended; ``None``: as long as the task itself says.

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
    def held(self) -> int:
        """Return how many messages of all queues workers have taken and not finished; raises ``UnavailableError``."""

    @abstractmethod
    def discard(self, queue: str) -> int:
        """Drop the messages of a queue, those that workers have taken included, and return how many.

        For queues of hints alone. Works on a broker that is full.

        Raises
        ------
        UnavailableError
            The broker does not answer.
        """

    @abstractmethod
    def check(self) -> None:
        """Check that the broker takes messages.

        Raises
        ------
        UnavailableError
            It does not answer.
        OutOfResourcesError
            It answers, and is full.
        """

    def close(self) -> None:
        """Release connections. The default does nothing."""
