from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.support.instances import ORIGIN
from tests.support.memory_queue import MemoryQueue
from vna.domain.errors import UnavailableError
from vna.ingest import hints
from vna.ingest.hints import (
    DEEPEST,
    INGEST_LARGE_TASK,
    INGEST_TASK,
    LARGE_BYTES,
    Hints,
    enqueue_entries,
    ingest_queue,
    longest_seconds,
)
from vna.ingest.spool import SpoolEntry

SMALL = ingest_queue("main")
LARGE = ingest_queue("main", large=True)


def entry(number: int, length: int = 10) -> SpoolEntry:
    return SpoolEntry(f"{number:014x}.0123456789ab.{length}.x.dcm", number, length, ORIGIN)


def until(condition: object, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Told:
    """Hints over a queue in memory, and how many were dropped."""

    def __init__(self, queue: MemoryQueue, **options: Any) -> None:
        self.queue = queue
        self.dropped: list[int] = []
        self.hints = Hints(queue, "main", on_drop=self.dropped.append, **options)

    def add(self, *entries: SpoolEntry, urgent: bool = False) -> None:
        for one in entries:
            self.hints.add(one, urgent=urgent)


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def deep(queue: MemoryQueue) -> Iterator[Told]:
    queue.messages[SMALL] = [(INGEST_TASK, [["old"]])] * DEEPEST
    told = Told(queue, seconds=0.01)
    yield told
    told.hints.close()


def test_queues_of_a_spool() -> None:
    assert (SMALL, LARGE) == ("ingest.main", "ingest-large.main")


def test_large_entries_go_alone_to_their_own_queue(queue: MemoryQueue) -> None:
    entries = [entry(number, length) for number, length in enumerate((10, LARGE_BYTES, LARGE_BYTES - 1, LARGE_BYTES))]
    enqueue_entries(queue, "main", entries)
    assert queue.messages[SMALL] == [(INGEST_TASK, [[entries[0].name, entries[2].name]])]
    assert queue.messages[LARGE] == [(INGEST_LARGE_TASK, [[entries[1].name]]), (INGEST_LARGE_TASK, [[entries[3].name]])]


def test_a_message_has_as_long_as_a_slow_link_takes(queue: MemoryQueue) -> None:
    enqueue_entries(queue, "main", [entry(1, 64 << 30), entry(2, 1000)])
    seconds = dict(zip([SMALL, LARGE], queue.seconds, strict=True))
    assert seconds[SMALL] == pytest.approx(600, abs=1)
    # Nineteen hours, at a megabyte a second.
    assert seconds[LARGE] == pytest.approx(600 + (64 << 30) / 1e6)
    assert longest_seconds(0) == 600


def test_a_message_of_small_entries_is_bounded_by_bytes(queue: MemoryQueue) -> None:
    entries = [entry(number, 60 << 20) for number in range(10)]
    enqueue_entries(queue, "main", entries)
    assert [len(names) for _, (names,) in queue.messages[SMALL]] == [4, 4, 2]
    assert queue.names(SMALL) == [one.name for one in entries]
    assert all(seconds is not None and seconds > 700 for seconds in queue.seconds[:2])


def test_hints_beyond_the_depth_are_dropped_and_counted(deep: Told) -> None:
    deep.add(entry(1), entry(2))
    until(lambda: sum(deep.dropped) == 2)
    assert len(deep.queue.messages[SMALL]) == DEEPEST


def test_a_deep_queue_of_small_entries_does_not_keep_large_ones_away(deep: Told) -> None:
    deep.add(entry(1), entry(2, LARGE_BYTES))
    until(lambda: sum(deep.dropped) == 1 and len(deep.queue.messages.get(LARGE, ())) == 1)


def test_hints_go_on_when_the_queue_is_worked_off(deep: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_DEPTH_SECONDS", 0.05)
    deep.add(entry(1))
    until(lambda: sum(deep.dropped) == 1)
    del deep.queue.messages[SMALL][1:]
    time.sleep(0.1)
    deep.add(entry(2))
    until(lambda: deep.queue.names(SMALL) == ["old", entry(2).name])


def test_a_burst_between_two_looks_at_the_depth_is_bounded(queue: MemoryQueue) -> None:
    told = Told(queue, batch=1, seconds=0.001)
    told.add(*(entry(number) for number in range(DEEPEST + 50)))
    told.hints.close()
    # A look a second: should the machine be slow, there may have been a second one, which sees them all.
    assert len(queue.messages[SMALL]) == DEEPEST
    assert sum(told.dropped) == 50


def test_the_depth_is_asked_for_about_once_a_second(queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    depth = queue.depth
    monkeypatch.setattr(queue, "depth", lambda name: asked.append(name) or depth(name))
    told = Told(queue, batch=1, seconds=0.001)
    begin = time.monotonic()
    told.add(*(entry(number) for number in range(100)))
    told.hints.close()
    assert len(queue.names(SMALL)) == 100
    assert len(asked) <= 1 + (time.monotonic() - begin)


def test_an_urgent_hint_does_not_wait_for_its_batch_and_takes_along_what_does(queue: MemoryQueue) -> None:
    told = Told(queue, seconds=60)
    told.add(entry(1))
    time.sleep(0.05)
    assert queue.messages == {}
    told.add(entry(2), urgent=True)
    until(lambda: queue.names(SMALL) == [entry(1).name, entry(2).name])
    # The next one that is not waits again.
    told.add(entry(3))
    time.sleep(0.05)
    assert len(queue.names(SMALL)) == 2
    told.hints.close()


def test_an_urgent_hint_among_many_is_sent_though_it_is_not_in_the_first_batch(queue: MemoryQueue) -> None:
    told = Told(queue, seconds=60, batch=1000)
    told.add(*(entry(number) for number in range(900)))
    told.add(entry(5000), urgent=True)
    until(lambda: entry(5000).name in queue.names(SMALL))
    told.hints.close()


def test_an_urgent_hint_is_sent_however_deep_the_queue_is(deep: Told) -> None:
    deep.add(entry(1))
    until(lambda: sum(deep.dropped) == 1)
    deep.add(entry(2), urgent=True)
    until(lambda: deep.queue.names(SMALL)[DEEPEST:] == [entry(2).name])


def test_a_broker_that_does_not_tell_its_depth_costs_hints_alone(
    queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(queue, seconds=0.01)
    real = queue.depth

    def away(_name: str) -> int:
        raise UnavailableError("frozen")

    monkeypatch.setattr(queue, "depth", away)
    told.add(entry(1))
    until(lambda: sum(told.dropped) == 1)
    monkeypatch.setattr(queue, "depth", real)
    told.add(entry(2))
    until(lambda: queue.names(SMALL) == [entry(2).name])
    told.hints.close()


def test_hints_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hints, "_MOST", 3)
    queue = MemoryQueue()
    gate = threading.Event()
    sent = queue.enqueue

    def slow(task: str, args: Sequence[Any], name: str, *, seconds: float | None = None) -> None:
        gate.wait(10)
        sent(task, args, name, seconds=seconds)

    monkeypatch.setattr(queue, "enqueue", slow)
    told = Told(queue, seconds=60)
    told.add(*(entry(number) for number in range(5)))
    assert sum(told.dropped) == 2
    gate.set()
    told.hints.close()
