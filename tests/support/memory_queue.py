"""A queue in memory, for unit tests of what sends; the real broker is in the integration tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vna.domain.errors import UnavailableError
from vna.ports.queue import Queue


class MemoryQueue(Queue):
    """Keeps messages in lists by queue name. While ``down`` it refuses as a broker that is away does."""

    def __init__(self) -> None:
        self.messages: dict[str, list[tuple[str, list[Any]]]] = {}
        self.down = False

    def enqueue(self, task: str, args: Sequence[Any], queue: str) -> None:
        self.check()
        self.messages.setdefault(queue, []).append((task, list(args)))

    def depth(self, queue: str) -> int:
        self.check()
        return len(self.messages.get(queue, []))

    def check(self) -> None:
        if self.down:
            raise UnavailableError("broker: down")

    def names(self, queue: str) -> list[str]:
        """Return the entries that the messages of a queue name, in order."""
        return [name for _, (names,) in self.messages.get(queue, []) for name in names]
