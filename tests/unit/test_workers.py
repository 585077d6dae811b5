"""What workers do beside their use cases: make room, leave alone what others are at, give signs of life."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from tests.support.instances import ORIGIN, make_settings, part10, spool_one
from tests.support.memory_queue import MemoryQueue
from vna.bootstrap import Archive
from vna.domain.errors import UnavailableError
from vna.ingest import backlog
from vna.ingest.backlog import INGEST, KEEPER, LARGE, SignOfLife, heartbeat
from vna.ingest.hints import DEEPEST, INGEST_LARGE_TASK, INGEST_TASK, LARGE_BYTES, ingest_queue
from vna.ingest.journal import Journal
from vna.ingest.spool import SpoolEntry
from workers.beat import scheduler_class
from workers.process import WorkerParts
from workers.room import make_room
from workers.routing import HEARTBEAT_TASK, PROBE_TASK
from workers.tasks import ingest, lifecycle

SMALL = ingest_queue("main")
BIG = ingest_queue("main", large=True)


class EndedError(Exception):
    """Ends a waiting that has no end."""


def test_room_is_made_of_hints_alone() -> None:
    queue = MemoryQueue()
    queue.room = 5
    queue.messages = {SMALL: [("t", [])] * 4, "other": [("t", [])]}
    make_room(queue, [SMALL, BIG], pytest.fail)
    assert list(queue.messages) == ["other"]


def test_a_broker_with_room_loses_nothing() -> None:
    queue = MemoryQueue()
    queue.messages = {SMALL: [("t", [])] * 4}
    make_room(queue, [SMALL], pytest.fail)
    assert len(queue.messages[SMALL]) == 4


def test_a_broker_full_of_others_is_asked_again_with_growing_pauses() -> None:
    queue = MemoryQueue()
    queue.room = 5
    queue.messages = {"other": [("t", [])] * 9}
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            queue.messages.clear()

    make_room(queue, [SMALL], pause)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_waiting_for_room_ends_when_the_worker_is_told() -> None:
    queue = MemoryQueue()
    queue.room = 0

    def pause(_seconds: float) -> None:
        raise EndedError

    with pytest.raises(EndedError):
        make_room(queue, [SMALL], pause)


def test_a_broker_that_is_away_is_left_to_celery() -> None:
    queue = MemoryQueue()
    queue.down = True
    make_room(queue, [SMALL], pytest.fail)


# Tasks.


class Process:
    """A worker process over a real archive in a folder, with a queue in memory."""

    def __init__(self, folder: Path) -> None:
        self.settings = make_settings(folder)
        archive = Archive(self.settings)
        self.queue = archive.__dict__["queue"] = MemoryQueue()
        self.parts = WorkerParts(archive, archive.committer(), archive.sweeper, Journal(archive.spool))
        self.app = Celery("test", fixups=[], set_as_current=False)
        ingest.register(self.app, self, self.settings)  # type: ignore[arg-type]
        lifecycle.register(self.app, self, self.settings)  # type: ignore[arg-type]

    def run(self, task: str, *args: Any) -> None:
        self.app.tasks[task].apply(args=args, throw=True)

    def left(self) -> set[str]:
        return {entry.name for entry in self.parts.archive.spool.entries()}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "data")
    yield made
    made.parts.archive.close()


def test_what_a_living_worker_is_at_is_left_alone(process: Process) -> None:
    spool = process.parts.archive.spool
    first, second = (spool_one(spool, part10(number)).name for number in (1, 2))
    other = Journal(spool)
    other.begin([first])
    try:
        # Delivered again, since the first delivery takes longer than the broker waits.
        process.run(INGEST_LARGE_TASK, [first])
        assert process.left() == {first, second}
        process.run(INGEST_TASK, [first, second])
        assert process.left() == {first}
    finally:
        other.end()
    process.run(INGEST_LARGE_TASK, [first])
    assert process.left() == set()


@pytest.mark.parametrize(("held", "left_to_sweeper"), [(0, False), (DEEPEST, True)])
def test_a_batch_is_not_kept_for_later_beside_hundreds_of_others(
    process: Process, monkeypatch: pytest.MonkeyPatch, held: int, left_to_sweeper: bool
) -> None:
    name = spool_one(process.parts.archive.spool, part10()).name
    process.queue.taken = held

    def away(_names: list[str]) -> None:
        raise UnavailableError("the store is away")

    monkeypatch.setattr(process.parts.committer, "commit", away)
    retried: list[Any] = []

    def retry(**options: Any) -> Exception:
        retried.append(options)
        return EndedError()

    monkeypatch.setattr(process.app.tasks[INGEST_TASK], "retry", retry)
    if left_to_sweeper:
        process.run(INGEST_TASK, [name])
    else:
        with pytest.raises(EndedError):
            process.run(INGEST_TASK, [name])
    assert bool(retried) is not left_to_sweeper
    assert process.left() == {name}


def test_the_keeper_gives_a_sign_and_asks_for_others_where_nothing_waits(process: Process) -> None:
    run = process.settings.run_path
    assert heartbeat(run, KEEPER) is None
    process.queue.messages = {SMALL: [(INGEST_TASK, [["x"]])]}
    process.run(HEARTBEAT_TASK)
    found = heartbeat(run, KEEPER)
    assert found is not None
    assert found.alive
    # Behind what waits a probe would come late, and while nobody serves the queue there would be ever more.
    assert process.queue.messages == {SMALL: [(INGEST_TASK, [["x"]])], BIG: [(PROBE_TASK, [LARGE])]}
    process.run(HEARTBEAT_TASK)
    assert process.queue.messages[BIG] == [(PROBE_TASK, [LARGE])]


def test_probes_and_batches_are_signs_of_life_of_their_own_kind(process: Process) -> None:
    run = process.settings.run_path
    process.run(PROBE_TASK, LARGE)
    assert heartbeat(run, LARGE)
    assert heartbeat(run, INGEST) is None
    process.run(INGEST_TASK, [])
    assert heartbeat(run, INGEST)


def test_a_keeper_lives_though_the_broker_takes_no_probe(process: Process) -> None:
    process.queue.down = True
    process.run(HEARTBEAT_TASK)
    assert heartbeat(process.settings.run_path, KEEPER)


def test_a_sign_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    SignOfLife(tmp_path / "run", INGEST, "a").give()


@pytest.mark.parametrize(("part", "seconds", "alive"), [(KEEPER, 60, False), (INGEST, 60, True), (INGEST, 130, False)])
def test_a_sign_grows_old(tmp_path: Path, part: str, seconds: float, alive: bool) -> None:
    SignOfLife(tmp_path, part, "a").give()
    path = tmp_path / f"heartbeat-{part}.json"
    when = datetime.now(UTC) - timedelta(seconds=seconds)
    path.write_text(json.dumps({"when": when.isoformat(), "host": "a"}))
    found = heartbeat(tmp_path, part)
    assert found is not None
    assert found.alive is alive


def test_a_large_entry_in_work_is_counted(process: Process) -> None:
    spool = process.parts.archive.spool
    small = spool_one(spool, part10())
    large = small.name.replace(f".{small.length:x}.", f".{LARGE_BYTES:x}.")
    assert SpoolEntry.parse(large).length == LARGE_BYTES
    other = Journal(spool)
    other.begin([large, small.name])
    assert backlog.large_in_hand(spool) == 1
    other.end()
    assert backlog.large_in_hand(spool) == 0


def test_what_comes_back_from_quarantine_goes_to_the_queue_of_its_size_and_fills_none() -> None:
    queue = MemoryQueue()
    lengths = [10] * (DEEPEST + 50)
    entries = [SpoolEntry(f"{number:014x}.a.{size}.x.dcm", number, size, ORIGIN) for number, size in enumerate(lengths)]
    assert backlog.hint(queue, "main", [SpoolEntry("large", 1, LARGE_BYTES, ORIGIN), *entries])
    assert len(queue.messages[BIG]) == 1
    assert len(queue.messages[SMALL]) == DEEPEST - 1


def test_beat_sends_no_orders_to_a_queue_that_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = MemoryQueue()
    sent: list[str] = []
    kind = scheduler_class(queue)
    monkeypatch.setattr(kind.__mro__[1], "apply_entry", lambda _self, entry, _producer=None: sent.append(entry.name))
    scheduler = kind.__new__(kind)
    entry = SimpleNamespace(name="sweep", options={"queue": "sweep.main"})
    queue.messages["sweep.main"] = [("old", [])] * 30
    scheduler.apply_entry(entry)
    scheduler.apply_entry(entry)
    assert sent == []
    queue.messages.clear()
    scheduler.apply_entry(entry)
    queue.down = True
    scheduler.apply_entry(entry)
    assert sent == ["sweep", "sweep"]
