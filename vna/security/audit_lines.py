"""The records of a day, newest first, read no further back than somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from vna.ports.objects import ObjectStore
from vna.security.audit_chain import PREFIX, SegmentKey

# Clocks are set back at times: what was sealed so much earlier may claim to be newer.
_SLACK_US = 3_600_000_000
_MOST_KEYS = 64
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Line:
    """A record that is not parsed yet: when it happened (microseconds since 1970 UTC), its id, key of its segment."""

    when_us: int
    id: str
    data: bytes = b""
    segment: str = ""
    sequence: int = 0
    record: dict[str, Any] | None = None


class _Chain:
    """What is not read yet of a chain's segments of a day; ``bound_us`` is a time that no record of them is after."""

    def __init__(self, objects: ObjectStore, name: str, day: str) -> None:
        self._objects = objects
        self._keys = [info.key for info in objects.list(f"{PREFIX}{name}/{day}/") if SegmentKey.parse(info.key)]
        self._next = 1
        self.bound_us = _NEVER if self._keys else -1

    def read(self, wanted: Callable[[Line], bool]) -> Iterator[Line]:
        """Yield what is wanted of the next older segments; twice as many of them each time."""
        keys, self._keys = self._keys[-self._next :], self._keys[: -self._next]
        self._next = min(2 * self._next, _MOST_KEYS)
        for key, data in self._objects.get_many(keys):
            head, *lines = data.splitlines() if data else [b""]
            self.bound_us = min(self.bound_us, _sealed(head) + _SLACK_US)
            for line in lines:
                found = _line(line, key)
                if found is not None and wanted(found):
                    yield found
        if not self._keys:
            self.bound_us = -1


class NewestFirst:
    """The records that were sealed on a day.

    A segment says when it was sealed, and nothing in an older one of its chain
    happened later: so the newest records are known before the others are read.

    Parameters
    ----------
    objects
        The object store.
    chains
        Names of the chains.
    day
        Day of sealing, ``yyyy/mm/dd``.
    young
        What is not sealed yet; what turns out to be sealed meanwhile is taken from the segment.
    """

    def __init__(self, objects: ObjectStore, chains: list[str], day: str, young: list[Line]) -> None:
        self._chains = [_Chain(objects, name, day) for name in chains]
        self._waiting = {line.id: line for line in young}
        self.bound_us = _NEVER

    def read(self, wanted: Callable[[Line], bool]) -> Iterator[Line | None]:
        """Yield what is wanted, by time and then id, the greatest first.

        ``None`` comes between, whenever a piece was read: then all that happened after ``bound_us`` has been yielded.
        """
        self._waiting = {line.id: line for line in self._waiting.values() if wanted(line)}
        while True:
            self.bound_us = bound = max((chain.bound_us for chain in self._chains), default=-1)
            ready = [line for line in self._waiting.values() if line.when_us > bound]
            ready.sort(key=lambda line: (line.when_us, line.id), reverse=True)
            for line in ready:
                del self._waiting[line.id]
            yield from ready
            if bound < 0:
                return
            if bound < _NEVER:
                yield None
            chain = max(self._chains, key=lambda chain: chain.bound_us)
            self._waiting |= {line.id: line for line in chain.read(wanted)}


def record_of(line: Line) -> dict[str, Any] | None:
    """Return the event of a record as values of JSON, ``None`` if it cannot be read."""
    if line.record is not None:
        return line.record
    try:
        found = orjson.loads(line.data)["event"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def day_of(microseconds: int) -> str:
    """Return the day of a moment, UTC, as ``yyyy/mm/dd``."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y/%m/%d")


def moved(day: str, days: int) -> str:
    """Return the day so many days after another, ``yyyy/mm/dd`` both."""
    return (datetime.strptime(day, "%Y/%m/%d").replace(tzinfo=UTC) + timedelta(days=days)).strftime("%Y/%m/%d")


def _sealed(head: bytes) -> int:
    try:
        return int(datetime.fromisoformat(orjson.loads(head)["sealed"]).timestamp() * 1e6)
    except (ValueError, KeyError, TypeError):
        return _NEVER


def _line(data: bytes, segment: str) -> Line | None:
    """Return a record with its keys read from its bytes: they are canonical, and quotes within values are escaped."""
    try:
        when = data.rindex(b'"when_us":') + 10
        name = data.index(b'"id":"') + 6
        return Line(
            int(data[when : data.index(b"}", when)]),
            data[name : data.index(b'"', name)].decode(),
            data,
            segment,
            int(data[data.rindex(b":") + 1 : -1]),
        )
    except ValueError:
        return None
