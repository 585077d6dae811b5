from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, spool_one
from tests.support.memory_queue import MemoryQueue
from vna.domain.errors import OutOfResourcesError, UnavailableError
from vna.ingest.hints import INGEST_TASK, Hints, ingest_queue
from vna.ingest.receive import Receiver
from vna.ingest.spool import Spool

SMALL = ingest_queue("main")


def until(condition: object, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_committed_is_in_the_spool_and_hinted(tmp_path: Path) -> None:
    queue = MemoryQueue()
    receiver = Receiver(Spool(tmp_path), Hints(queue, "main", seconds=0.02))
    entries = [spool_one(receiver, bytes([number])) for number in range(3)]
    assert {entry.name for entry in receiver.spool.entries()} == {entry.name for entry in entries}
    until(lambda: len(queue.names(SMALL)) == 3)
    assert {task for task, _ in queue.messages[SMALL]} == {INGEST_TASK}
    receiver.close()


def test_what_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    queue = MemoryQueue()
    receiver = Receiver(Spool(tmp_path), Hints(queue, "main", seconds=0.01))
    with receiver.begin(ORIGIN) as incoming:
        incoming.write(b"half of it")
        assert incoming.length == 10
    receiver.close()
    assert list(receiver.spool.entries()) == []
    assert queue.messages == {}


def test_a_full_batch_goes_at_once_and_the_rest_on_close(tmp_path: Path) -> None:
    queue = MemoryQueue()
    receiver = Receiver(Spool(tmp_path), Hints(queue, "main", batch=4, seconds=60))
    for number in range(6):
        spool_one(receiver, bytes([number]))
    until(lambda: SMALL in queue.messages)
    assert [len(names) for _, (names,) in queue.messages[SMALL]] == [4]
    receiver.close()
    assert [len(names) for _, (names,) in queue.messages[SMALL]] == [4, 2]


def test_hints_are_dropped_and_counted_while_the_broker_is_away(tmp_path: Path) -> None:
    queue = MemoryQueue()
    queue.down = True
    dropped: list[int] = []
    receiver = Receiver(Spool(tmp_path), Hints(queue, "main", seconds=0.01, on_drop=dropped.append))
    entry = spool_one(receiver, b"x")
    until(lambda: sum(dropped) == 1)
    queue.down = False
    spool_one(receiver, b"y")
    until(lambda: len(queue.names(SMALL)) == 1)
    assert entry.name in {one.name for one in receiver.spool.entries()}
    receiver.close()


def test_hints_go_on_after_an_error_that_nobody_foresaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = MemoryQueue()
    real = queue.enqueue

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug in a client library")

    monkeypatch.setattr(queue, "enqueue", broken)
    dropped: list[int] = []
    receiver = Receiver(Spool(tmp_path), Hints(queue, "main", seconds=0.01, on_drop=dropped.append))
    spool_one(receiver, b"x")
    until(lambda: sum(dropped) == 1)
    monkeypatch.setattr(queue, "enqueue", real)
    spool_one(receiver, b"y")
    until(lambda: len(queue.names(SMALL)) == 1)
    receiver.close()


def test_a_full_disk_refuses_and_hints_nothing(tmp_path: Path) -> None:
    queue = MemoryQueue()
    receiver = Receiver(Spool(tmp_path, min_free_bytes=1 << 62), Hints(queue, "main"))
    with pytest.raises(OutOfResourcesError):
        receiver.begin(ORIGIN)
    receiver.close()
    assert queue.messages == {}


def test_an_answer_waits_for_the_store_where_it_promises_that(tmp_path: Path) -> None:
    queue = MemoryQueue()
    spool = Spool(tmp_path)
    receiver = Receiver(spool, Hints(queue, "main", seconds=60), stored_seconds=10)
    answered: list[float] = []

    def send() -> None:
        spool_one(receiver, b"data")
        answered.append(time.monotonic())

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: SMALL in queue.messages)  # at once, although a batch may wait for a minute
    (entry,) = spool.entries()
    assert not answered
    stored = time.monotonic()
    spool.finish([entry])
    sender.join(5)
    assert answered
    assert answered[0] >= stored
    receiver.close()


def test_a_sender_is_refused_when_the_store_does_not_have_it_in_time_and_nothing_is_lost(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    receiver = Receiver(spool, Hints(MemoryQueue(), "main"), stored_seconds=0.1)
    with pytest.raises(UnavailableError):
        spool_one(receiver, b"data")
    (entry,) = spool.entries()
    assert spool.source(entry).read() == b"data"
    receiver.close()
