from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, spool_one
from tests.support.memory_queue import MemoryQueue
from tests.support.ports import wait_until
from vna.domain.errors import UnavailableError
from vna.domain.origin import now_us
from vna.ingest.hints import ingest_queue
from vna.ingest.journal import Journal
from vna.ingest.quarantine import Quarantine
from vna.ingest.spool import Spool, SpoolEntry
from vna.ingest.spool.entry import encode_origin
from vna.ingest.sweep import Sweeper
from vna.store.folder import FolderStore

SMALL = ingest_queue("main")


def of_the_first_format(spool: Spool, data: bytes, length: int) -> SpoolEntry:
    """Leave an entry as the archive did before it had segments."""
    (spool.path / "incoming").mkdir(exist_ok=True)
    name = f"{now_us():014x}.{os.urandom(6).hex()}.{length:x}.{encode_origin(ORIGIN)}.dcm"
    (spool.path / "incoming" / name).write_bytes(data)
    return SpoolEntry.parse(name)


class Parts:
    def __init__(self, folder: Path, **changes: object) -> None:
        self.spool = Spool(folder / "spool")
        self.journal = Journal(self.spool)
        self.quarantine = Quarantine(self.spool, self.journal, FolderStore(folder / "objects"))
        self.queue = MemoryQueue()
        options = {"age_seconds": 0.0, "batch": 4} | changes
        self.sweeper = Sweeper(self.spool, "main", self.queue, self.journal, self.quarantine, **options)  # type: ignore[arg-type]

    def receive(self, count: int) -> list[SpoolEntry]:
        return [spool_one(self.spool, bytes([number])) for number in range(count)]

    def sweep(self) -> object:
        report = self.sweeper.sweep()
        assert report is not None
        return report


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_forgotten_entries_are_sent_in_batches(parts: Parts) -> None:
    entries = parts.receive(10)
    report = parts.sweeper.sweep()
    assert report is not None
    assert (report.entries, report.sent, report.waiting) == (10, 10, "")
    assert sorted(parts.queue.names(SMALL)) == sorted(entry.name for entry in entries)
    assert [len(names) for _, (names,) in parts.queue.messages[SMALL]] == [4, 4, 2]
    assert json.loads((parts.spool.path / "sweep.json").read_text())["sent"] == 10


def test_young_entries_are_left_to_their_first_message(tmp_path: Path) -> None:
    parts = Parts(tmp_path, age_seconds=60)
    parts.receive(3)
    parts.sweep()
    assert parts.queue.messages == {}


def test_entries_sent_not_long_ago_are_skipped_while_messages_wait(parts: Parts) -> None:
    parts.receive(5)
    parts.sweep()
    fresh = parts.receive(1)
    parts.sweep()
    names = parts.queue.names(SMALL)
    assert len(names) == len(set(names)) == 6
    assert names[-1] == fresh[0].name


def test_an_empty_queue_means_that_the_messages_are_gone(parts: Parts) -> None:
    entries = parts.receive(5)
    parts.sweep()
    parts.queue.messages.clear()
    parts.sweep()
    assert sorted(parts.queue.names(SMALL)) == sorted(entry.name for entry in entries)


def test_entries_that_failed_before_go_alone(parts: Parts) -> None:
    entries = parts.receive(4)
    parts.journal.add(entries[1].name, "x")
    parts.sweep()
    sizes = sorted(len(names) for _, (names,) in parts.queue.messages[SMALL])
    assert sizes == [1, 3]
    assert [entries[1].name] in [names for _, (names,) in parts.queue.messages[SMALL]]


def test_what_a_living_worker_has_in_hand_is_left_to_it(parts: Parts) -> None:
    entries = parts.receive(3)
    worker = Journal(parts.spool)
    worker.begin([entries[0].name])
    parts.sweep()
    assert sorted(parts.queue.names(SMALL)) == sorted(entry.name for entry in entries[1:])
    worker.close()


def test_the_queue_is_not_flooded(tmp_path: Path) -> None:
    parts = Parts(tmp_path, deepest=3)
    parts.receive(40)
    parts.sweep()
    assert parts.queue.depth(SMALL) == 3
    report = parts.sweeper.sweep()
    assert report is not None
    assert report.sent == 0
    assert report.waiting == "3 messages in the queue"
    assert report.entries == 40
    del parts.queue.messages[SMALL][0]
    parts.sweep()
    assert parts.queue.depth(SMALL) == 3
    assert len(set(parts.queue.names(SMALL))) == 12


def test_nothing_is_sent_while_a_service_is_down(tmp_path: Path) -> None:
    def ready() -> None:
        raise UnavailableError("index: down")

    parts = Parts(tmp_path, ready=ready)
    parts.receive(3)
    report = parts.sweeper.sweep()
    assert report is not None
    assert (report.sent, report.waiting) == (0, "index: down")
    assert parts.queue.messages == {}


def test_a_broker_that_is_away_fails_no_sweep(parts: Parts) -> None:
    parts.receive(3)
    parts.queue.down = True
    report = parts.sweeper.sweep()
    assert report is not None
    assert "broker" in report.waiting
    parts.queue.down = False
    parts.sweep()
    assert len(parts.queue.names(SMALL)) == 3


def test_a_torn_file_goes_to_quarantine(parts: Parts) -> None:
    torn, whole = of_the_first_format(parts.spool, b"0123", 10), of_the_first_format(parts.spool, b"abc", 3)
    report = parts.sweeper.sweep()
    assert report is not None
    assert report.torn == 1
    assert parts.queue.names(SMALL) == [whole.name]
    (item,) = parts.quarantine.list()
    assert item.name == torn.name
    assert "4 bytes of 10" in item.reason


def test_half_received_files_of_dead_gateways_are_removed(parts: Parts) -> None:
    old, young = parts.spool.partial / "old", parts.spool.partial / "young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    report = parts.sweeper.sweep()
    assert report is not None
    assert report.partial == 1
    assert not old.exists()
    assert young.exists()


def test_one_sweep_at_a_time(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = []
    real = parts.sweeper._scan

    def scan(report: object) -> None:
        nested.append(parts.sweeper.sweep())
        real(report)  # type: ignore[arg-type]

    monkeypatch.setattr(parts.sweeper, "_scan", scan)
    parts.sweep()
    assert nested == [None]


def test_a_large_spool_is_swept_in_bounded_memory(tmp_path: Path) -> None:
    parts = Parts(tmp_path, batch=64, deepest=50)
    parts.spool.prepare()
    wait_until(lambda: parts.spool.pool.ready == 4, 30)
    for _ in range(8_000):
        spool_one(parts.spool, b"x")
    tracemalloc.start()
    begin = time.monotonic()
    report = parts.sweeper.sweep()
    seconds = time.monotonic() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report is not None
    assert report.entries == 8_000
    assert parts.queue.depth(SMALL) == 50
    assert report.sent == 50 * 64
    # 3,200 names in the messages of the queue in memory, and 3,200 short ones remembered.
    assert peak < 3e6
    assert seconds < 5
