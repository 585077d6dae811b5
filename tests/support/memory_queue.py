"""A queue in memory, for unit tests of what sends; the real broker is in the integration tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vna.domain.errors import OutOfResourcesError, UnavailableError
from vna.ports.queue import Queue


class MemoryQueue(Queue):
    """Keeps messages in lists by queue name.

    While ``down`` it refuses as a broker that is away does; beyond ``room`` messages as one that is full.
    """

    def __init__(self) -> None:
        self.messages: dict[str, list[tuple[str, list[Any]]]] = {}
        self.seconds: list[float | None] = []
        self.down = False
        self.room = 1 << 30
        self.taken = 0

    def enqueue(self, task: str, args: Sequence[Any], queue: str, *, seconds: float | None = None) -> None:
        self.check()
        self.seconds.append(seconds)
        self.messages.setdefault(queue, []).append((task, list(args)))

    def depth(self, queue: str) -> int:
        self._answer()
        return len(self.messages.get(queue, []))

    def held(self) -> int:
        self._answer()
        return self.taken

    def discard(self, queue: str) -> int:
        self._answer()
        return len(self.messages.pop(queue, []))

    def check(self) -> None:
        self._answer()
        if sum(map(len, self.messages.values())) >= self.room:
            raise OutOfResourcesError("broker: full")

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError("broker: down")

    def names(self, queue: str) -> list[str]:
        """Return the entries that the messages of a queue name, in order."""
        return [name for _, (names,) in self.messages.get(queue, []) for name in names]
