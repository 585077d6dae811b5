"""Segments: what is acknowledged in one is found, whatever lies beside it; what is done with never comes back."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from tests.support.instances import ORIGIN, spool_one
from tests.support.ports import wait_until
from vna.domain.errors import IntegrityError, OutOfResourcesError
from vna.domain.origin import now_us
from vna.ingest.spool import Fate, Kind, Spool, SpoolEntry
from vna.ingest.spool import segment as segment_module
from vna.ingest.spool.entry import make_name
from vna.ingest.spool.layout import PAGE, SECTOR, SLOTS_AT, Slot, unpack_header
from vna.ingest.spool.segment import Segment

SEGMENT = 2 << 20


def open_spool(path: Path, ready: int = 4) -> Spool:
    spool = Spool(path, log_bytes=4 * SEGMENT)
    spool.prepare()
    wait_until(lambda: spool.pool.ready >= ready, 30)
    return spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = open_spool(tmp_path / "spool")
    yield made
    made.close()


def path_of(spool: Spool, entry: SpoolEntry) -> Path:
    return spool.source(entry).path


def test_an_instance_lies_in_a_segment_and_is_read_from_there(spool: Spool) -> None:
    data = os.urandom(100_000)
    entry = spool_one(spool, data)
    assert entry.segment >= 0
    source = spool.source(entry)
    assert source.read() == data
    assert source.offset % PAGE == 0
    assert list(spool.entries()) == [entry]
    assert SpoolEntry.parse(entry.name) == entry
    assert spool.waits(entry)
    assert list(spool.partial.iterdir()) == []


def test_entries_come_in_the_order_of_their_slots_and_none_twice(spool: Spool) -> None:
    entries = [spool_one(spool, bytes([number]) * 5000) for number in range(60)]
    assert list(spool.entries()) == entries
    assert spool.count(with_bytes=True).bytes == 60 * 5000
    assert spool.count().oldest_us == entries[0].received_us


def test_what_grows_beyond_a_segment_moves_into_a_file_of_its_own(spool: Spool) -> None:
    pieces = [os.urandom(60_000) for _ in range(10)]
    with spool.begin(ORIGIN) as file:
        for piece in pieces:
            file.write(piece)
        entry = file.seal()
    assert entry.segment < 0
    assert spool.source(entry).read() == b"".join(pieces)
    small = spool_one(spool, b"the place in the segment is free again")
    assert small.segment >= 0
    assert sorted(each.name for each in spool.entries()) == sorted((entry.name, small.name))
    assert list(spool.partial.iterdir()) == []


def test_an_instance_that_is_given_up_leaves_nothing_in_the_way_of_the_next(spool: Spool) -> None:
    first = spool_one(spool, b"first")
    with spool.begin(ORIGIN) as file:
        file.write(os.urandom(50_000))
    second = spool_one(spool, b"second")
    assert list(spool.entries()) == [first, second]
    assert spool.source(second).read() == b"second"
    assert second.slot == first.slot + 1


def test_instances_received_at_the_same_time_share_no_segment(spool: Spool) -> None:
    begun = [spool.begin(ORIGIN) for _ in range(6)]
    for number, file in enumerate(begun):
        file.write(bytes([number]) * 3000)
    entries = []
    for number, file in reversed(list(enumerate(begun))):
        entries.append((number, file.seal()))
        file.close()
    segments = [entry.segment for _, entry in entries if entry.segment >= 0]
    assert len(segments) == len(set(segments)) >= 4
    for number, entry in entries:
        assert spool.source(entry).read() == bytes([number]) * 3000


def test_done_is_done_for_every_process(spool: Spool) -> None:
    entries = [spool_one(spool, bytes([number])) for number in range(10)]
    spool.finish(entries[:4])
    other = Spool(spool.path, log_bytes=0)
    assert list(other.entries()) == entries[4:]
    assert other.count().entries == 6
    assert not other.waits(entries[0])
    with pytest.raises(FileNotFoundError):
        other.source(entries[0])
    other.finish(entries)
    assert list(spool.entries()) == []
    other.close()


def test_marks_are_durable_when_finish_returns(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [spool_one(spool, bytes([number])) for number in range(3)]
    synced = []
    real = os.fdatasync

    def noted(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fdatasync", noted)
    path = path_of(spool, entries[0])
    spool.finish(entries)
    assert synced == [str(path)]


def fill(spool: Spool) -> list[SpoolEntry]:
    """Receive until the segment that was begun is full."""
    entries = [spool_one(spool, os.urandom(200_000))]
    while entries[-1].segment == entries[0].segment:
        entries.append(spool_one(spool, os.urandom(200_000)))
    return entries[:-1]


def test_an_emptied_segment_is_used_again_and_nothing_comes_back_from_it(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    old = fill(spool)
    spool.close()
    spool.finish(old)
    path = spool.segments / f"{old[0].segment:012x}.seg"
    left = list(spool.entries())
    taken = Segment.take(path, SEGMENT)
    assert taken is not None
    assert [entry for entry in spool.entries() if entry not in left] == []
    assert not any(spool.waits(entry) for entry in old)
    taken.close()
    # Whoever still has the old name, and marks it again, does not mark what lies there now.
    again = Segment.take(path, SEGMENT)
    assert again is not None
    again.close()
    spool.finish(old)
    assert spool.count().damaged == 0


def test_a_segment_in_which_something_waits_is_not_taken(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    entries = fill(spool)
    spool.close()
    spool.finish(entries[1:])
    path = spool.segments / f"{entries[0].segment:012x}.seg"
    assert Segment.take(path, SEGMENT) is None
    spool.finish(entries)
    taken = Segment.take(path, SEGMENT)
    assert taken is not None
    assert Segment.take(path, SEGMENT) is None, "two own it"
    taken.close()


def test_a_segment_of_another_size_is_left_alone(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    spool.close()
    path = next(spool.segments.glob("*.seg"))
    assert Segment.take(path, SEGMENT * 2) is None


def test_segments_of_one_process_are_taken_by_the_next(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    entry = spool_one(spool, b"x")
    spool.close()
    before = set(spool.segments.iterdir())
    again = open_spool(tmp_path / "spool", 3)
    wait_until(lambda: again.pool.ready == 4, 30)
    assert list(again.entries()) == [entry]
    assert len(set(again.segments.iterdir()) - before) <= 1
    again.close()


def test_emptied_segments_beyond_those_that_are_kept_are_removed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    fill(spool)
    spool.close()
    spool.trim(0)
    holding = {f"{entry.segment:012x}.seg" for entry in spool.entries()}
    assert {path.name for path in spool.segments.iterdir()} == holding
    spool.finish(list(spool.entries()))
    (spool.segments / ".0123456789ab").write_bytes(b"half made")
    assert spool.trim(0) >= 1
    assert list(spool.segments.iterdir()) == []


def test_a_segment_that_is_owned_is_not_removed(spool: Spool) -> None:
    spool.trim(0)
    assert len(list(spool.segments.glob("*.seg"))) == 4
    entry = spool_one(spool, b"x")
    assert list(spool.entries()) == [entry]


# Damage.


def overwrite(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


@pytest.mark.parametrize("damage", [bytes(SECTOR), b"\xff" * SECTOR, b"rubbish" * 73], ids=["zeros", "ones", "text"])
def test_a_damaged_slot_hides_nothing_that_follows(spool: Spool, damage: bytes) -> None:
    entries = [spool_one(spool, bytes([number]) * 100) for number in range(40)]
    overwrite(path_of(spool, entries[0]), SLOTS_AT + 7 * SECTOR, damage[:SECTOR])
    assert list(spool.entries()) == entries[:7] + entries[8:]


def test_a_page_of_slots_that_cannot_be_read_hides_nothing_that_follows(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [spool_one(spool, bytes([number]) * 100) for number in range(40)]
    bad = range(SLOTS_AT + PAGE, SLOTS_AT + 2 * PAGE)
    real = os.pread

    def pread(fd: int, size: int, place: int) -> bytes:
        if place < bad.stop and place + size > bad.start:
            raise OSError(5, "Input/output error")
        return real(fd, size, place)

    monkeypatch.setattr(os, "pread", pread)
    assert list(spool.entries()) == entries[:8] + entries[16:]
    assert spool.waits(entries[9]), "what cannot be read is not done with"
    spool.finish(entries[:8] + entries[16:])
    assert spool.trim(0) == 0, "a segment that cannot be read whole is kept"


def test_headers_are_never_written_over_the_one_in_use(tmp_path: Path) -> None:
    segment = Segment.make(tmp_path, SEGMENT)
    raw = segment.path.read_bytes()
    segment.renew()
    after = segment.path.read_bytes()
    kept = unpack_header(raw[PAGE : PAGE + SECTOR])
    assert kept is not None
    assert kept.generation == 1
    assert after[PAGE : PAGE + SECTOR] == raw[PAGE : PAGE + SECTOR]
    segment.close()


@pytest.mark.parametrize("generation", [2, 3])
def test_a_header_that_cannot_be_read_loses_nothing(tmp_path: Path, generation: int) -> None:
    spool = Spool(tmp_path / "spool", log_bytes=0)
    segment = Segment.make(spool.segments, SEGMENT)
    while segment.header.generation < generation:
        seal(segment, b"of an earlier generation")
        segment.renew()
    entries = [seal(segment, bytes([number])) for number in range(5)]
    assert list(spool.entries()) == entries
    overwrite(segment.path, segment.header.place, b"\xff" * SECTOR)
    assert list(spool.entries()) == entries
    assert [spool.source(entry).read() for entry in entries] == [bytes([number]) for number in range(5)]
    spool.finish(entries)
    assert list(spool.entries()) == []


def seal(segment: Segment, data: bytes) -> SpoolEntry:
    checksum = xxhash.xxh3_64_intdigest(data)
    place = f"{segment.header.number:012x}-{segment.used:x}"
    nonce = os.urandom(6).hex()
    name = make_name(now_us(), nonce, len(data), checksum, place, Kind.INSTANCE, Fate.COMMIT, ORIGIN)
    os.pwrite(segment.fd, data, segment.position)
    segment.seal(Slot(segment.header.generation, segment.position, len(data), checksum, name))
    return SpoolEntry.parse(name)


def test_damaged_bytes_are_found_when_they_are_read(spool: Spool) -> None:
    entry = spool_one(spool, b"a" * 10_000)
    source = spool.source(entry)
    overwrite(source.path, source.offset + 5000, b"b")
    with pytest.raises(IntegrityError):
        spool.source(entry).read()
    with pytest.raises(IntegrityError):
        spool.source(entry).check()


# Syncs that fail.


def test_a_failed_sync_poisons_the_segment_and_refuses_the_instance(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = spool_one(spool, b"before")
    real, told = os.fdatasync, []

    def once(fd: int) -> None:
        # The kernel tells of a failed write once, and then says yes without having written anything.
        if not told and os.readlink(f"/proc/self/fd/{fd}") == str(path_of(spool, before)):
            told.append(fd)
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", once)
    with spool.begin(ORIGIN) as file:
        file.write(b"refused")
        with pytest.raises(OutOfResourcesError):
            file.seal()
    after = spool_one(spool, b"after")
    assert after.segment != before.segment
    assert {entry.name for entry in spool.entries()} == {before.name, after.name}
    assert spool.trouble()["count"] == 1
    # Poisoned it is not used again, and removed when it is emptied.
    spool.finish([before])
    assert Segment.take(spool.segments / f"{before.segment:012x}.seg", SEGMENT) is None
    spool.trim(100)
    assert not (spool.segments / f"{before.segment:012x}.seg").exists()


def test_a_failed_sync_fails_no_other_association(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fdatasync
    bad = threading.get_ident()

    def sync(fd: int) -> None:
        if threading.get_ident() == bad:
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    done: list[SpoolEntry] = []
    with spool.begin(ORIGIN) as file:
        file.write(b"refused")
        other = threading.Thread(target=lambda: done.append(spool_one(spool, b"good")))
        other.start()
        other.join()
        with pytest.raises(OutOfResourcesError):
            file.seal()
    assert list(spool.entries()) == done


@pytest.mark.parametrize("step", range(1, 4))
def test_short_writes_are_gone_on_with(spool: Spool, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: real(fd, bytes(data)[: max(1, len(data) // step)], place))
    data = os.urandom(30_000)
    entry = spool_one(spool, data)
    assert spool.source(entry).read() == data


def test_a_name_of_a_segment_is_durable_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vna.ingest.spool import pool as pool_module

    order: list[str] = []
    real = pool_module.sync_folder
    make, take = Segment.make.__func__, Segment.take.__func__  # type: ignore[attr-defined]

    def noted(folder: Path) -> None:
        order.append("folder")
        real(folder)

    monkeypatch.setattr(pool_module, "sync_folder", noted)
    monkeypatch.setattr(
        segment_module.Segment, "make", classmethod(lambda cls, *args: (order.append("segment"), make(cls, *args))[1])
    )

    def taken(cls: type[Segment], *args: object) -> Segment | None:
        segment = take(cls, *args)
        if segment is not None:
            order.append("segment")
        return segment

    monkeypatch.setattr(segment_module.Segment, "take", classmethod(taken))
    for _ in range(2):
        open_spool(tmp_path / "spool").close()
    assert order == ["segment", "folder"] * 8


# Room.


def test_no_segment_is_made_with_the_last_free_bytes(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    spool = Spool(tmp_path / "spool", min_free_bytes=free, log_bytes=4 * SEGMENT)
    spool.prepare()
    threading.Event().wait(0.5)
    assert spool.pool.ready == 0
    assert list(spool.segments.iterdir()) == []
    spool.close()


def test_nothing_of_a_half_made_segment_is_left_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _begin: int, _length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        Segment.make(tmp_path, SEGMENT)
    assert list(tmp_path.iterdir()) == []


def test_without_segments_each_instance_has_a_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", log_bytes=0)
    spool.prepare()
    entries = [spool_one(spool, bytes([number]) * 100) for number in range(3)]
    assert {entry.segment for entry in entries} == {-1}
    assert sorted(entry.name for entry in spool.entries()) == sorted(entry.name for entry in entries)
    assert spool.count().entries == 3
    spool.finish(entries[:2])
    assert list(spool.entries()) == entries[2:]
    spool.close()


# Kinds.


def test_what_is_not_known_is_kept_and_told(spool: Spool) -> None:
    with spool.begin(ORIGIN, Kind.MESSAGE, Fate.KEEP) as file:
        file.write(b"MSH|")
        message = file.seal()
    assert not message.to_commit
    assert SpoolEntry.parse(message.name) == message
    later = SpoolEntry.parse(message.name.replace(".mk.", ".zy."))
    assert (later.kind, later.fate, later.known) == (Kind.UNKNOWN, Fate.UNKNOWN, False)
    assert list(spool.entries()) == [message]
    spool.close()
    with spool.begin(ORIGIN) as file:
        (spool.files.path / file._nonce[:2]).mkdir(exist_ok=True)
        entry = file.seal()
    path = spool.source(entry).path
    path.rename(path.with_name(path.name.replace(".ic.", ".zy.")))
    assert spool.count().unknown == 1
