from __future__ import annotations

import json
import os
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, spool_one
from tests.support.memory_queue import MemoryQueue
from tests.support.ports import wait_until
from vna.domain.errors import UnavailableError
from vna.domain.origin import now_us
from vna.ingest.backlog import spooled
from vna.ingest.hints import ingest_queue
from vna.ingest.journal import Journal
from vna.ingest.quarantine import Quarantine
from vna.ingest.spool import Fate, Kind, Spool, SpoolEntry
from vna.ingest.spool.entry import encode_origin, make_name
from vna.ingest.spool.layout import CLOSED, PAGE, SECTOR, SLOTS_AT, Header, Note, Slot, pack_note, pack_slot, slots_of
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


def test_entries_of_the_future_are_sent_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path, age_seconds=60)
    ahead = now_us() + 365 * 86_400 * 1_000_000
    monkeypatch.setattr("vna.ingest.spool.receiving.now_us", lambda: ahead)
    entries = parts.receive(5)
    monkeypatch.undo()
    report = parts.sweeper.sweep()
    assert report is not None
    assert (report.sent, report.future) == (5, 5)
    assert report.oldest_seconds > 360 * 86_400
    assert sorted(parts.queue.names(SMALL)) == sorted(entry.name for entry in entries)
    assert any("later than now" in fault for fault in spooled(parts.spool).faults)


def test_what_is_held_back_and_what_is_no_instance_is_not_sent(parts: Parts) -> None:
    held, other = parts.receive(2)
    with parts.spool.begin(ORIGIN, Kind.MESSAGE, Fate.KEEP) as file:
        file.write(b"MSH|")
        file.seal()
    parts.journal.hold(held.name, "UnparsableError: not DICOM")
    report = parts.sweeper.sweep()
    assert report is not None
    assert report.held == 1
    assert parts.queue.names(SMALL) == [other.name]
    assert parts.journal.release() == [held.name]
    parts.sweep()
    assert set(parts.queue.names(SMALL)) == {held.name, other.name}


def test_an_entry_that_cannot_be_looked_at_stops_no_sweep(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = of_the_first_format(parts.spool, b"x", 10), spool_one(parts.spool, b"y")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(parts.quarantine, "put", broken)
    report = parts.sweeper.sweep()
    assert report is not None
    assert report.torn == 0
    assert set(parts.queue.names(SMALL)) == {bad.name, good.name}


def test_a_million_entries_are_swept_within_a_second(tmp_path: Path) -> None:
    # 250 segments of 4,096 entries, as a day of outage leaves them; made here without the syncs of receiving.
    parts = Parts(tmp_path, batch=64)
    size, slots = 64 << 20, slots_of(64 << 20)
    received = now_us() - 3_600_000_000
    for number in range(1, 251):
        header = Header(1, number, size, slots, received + number)
        with (parts.spool.segments / f"{number:012x}.seg").open("wb") as file:
            file.truncate(size)
            for generation in (0, 1):
                file.seek(PAGE * generation)
                file.write(replace(header, generation=generation).pack())
            file.seek(header.place + SECTOR)
            file.write(pack_note(header, Note(CLOSED, slots)))
            file.seek(SLOTS_AT)
            raw = bytearray()
            for slot in range(slots):
                place = f"{number:012x}-{slot:x}"
                name = make_name(received, f"{number:06x}{slot:06x}", 1, 0, place, Kind.INSTANCE, Fate.COMMIT, ORIGIN)
                raw += pack_slot(Slot(1, header.data_at, 1, 0, name))
            file.write(raw)
    begin = time.process_time()
    report = parts.sweeper.sweep()
    seconds = time.process_time() - begin
    assert report is not None
    assert report.entries == 250 * 4096 > 1_000_000
    assert report.sent == 200 * 64
    # A second on a quiet machine, with room for a busy one.
    assert seconds < 2


def test_a_disk_that_takes_nothing_ends_no_sweep(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = parts.receive(3)
    real = Path.write_text

    def full(path: Path, *given: object, **more: object) -> int:
        if path.is_relative_to(parts.spool.path):
            raise OSError(28, "no space")
        return real(path, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    report = parts.sweeper.sweep()
    assert report is not None
    assert (report.entries, report.sent) == (3, 3)
    assert sorted(parts.queue.names(SMALL)) == sorted(entry.name for entry in entries)


def test_a_sweep_clears_away_what_killed_processes_left(parts: Parts) -> None:
    left = [parts.journal.inflight / ".1-1", parts.journal.attempts / ".1-1", parts.quarantine.path / ".1-1"]
    for path in left:
        path.touch()
        os.utime(path, (0, 0))
    parts.sweep()
    assert [path for path in left if path.exists()] == []
