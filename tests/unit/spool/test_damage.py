"""Disks that fail below a spool: what was acknowledged is found, nothing that may hold something is used again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.support.instances import ORIGIN, spool_one
from tests.unit.spool.test_segments import SEGMENT, open_spool, overwrite, seal
from vna.domain.errors import OutOfResourcesError, UnavailableError
from vna.files import make_durable_folder
from vna.ingest.backlog import spooled
from vna.ingest.spool import Spool, SpoolEntry
from vna.ingest.spool import pool as pool_module
from vna.ingest.spool.layout import PAGE, SECTOR, SLOTS_AT
from vna.ingest.spool.segment import Segment, remove_if_drained


def with_entries(path: Path, generation: int, count: int = 12) -> tuple[Spool, Segment, list[SpoolEntry]]:
    """Return a spool with one segment, which holds entries of a generation."""
    spool = Spool(path, log_bytes=0)
    segment = Segment.make(spool.segments, SEGMENT)
    while segment.header.generation < generation:
        spool.finish([seal(segment, bytes([number]) * 50) for number in range(5)])
        segment.renew()
    entries = [seal(segment, bytes([number]) * 100) for number in range(count)]
    segment.close()
    return spool, segment, entries


@pytest.mark.parametrize("generation", [1, 2, 3])
@pytest.mark.parametrize(
    "bad",
    [
        [(0, PAGE)],
        [(PAGE, PAGE)],
        [(0, 2 * PAGE)],
        [(PAGE, PAGE + SECTOR)],
        [(0, PAGE), (SLOTS_AT, SECTOR)],
        [(0, 2 * PAGE + 3 * SECTOR)],
    ],
    ids=["first header", "second", "both", "second and slot", "first and slot", "both and slots"],
)
def test_headers_and_slots_that_are_lost_together_hide_no_others(
    tmp_path: Path, generation: int, bad: list[tuple[int, int]]
) -> None:
    spool, segment, entries = with_entries(tmp_path / "spool", generation)
    for place, length in bad:
        overwrite(segment.path, place, b"\xff" * length)
    lost = {0, 1, 2} if bad[0][1] > 2 * PAGE else {0} if len(bad) > 1 or bad[0][1] == PAGE + SECTOR else set()
    left = [entry for number, entry in enumerate(entries) if number not in lost]
    assert list(spool.entries()) == left
    assert all(spool.source(entry).read() == bytes([entries.index(entry)]) * 100 for entry in left)
    assert spool.count().damaged >= 1
    # Neither with what waits in it nor emptied is it used again or removed.
    assert Segment.take(segment.path, SEGMENT) is None
    spool.finish(left)
    assert list(spool.entries()) == []
    assert Segment.take(segment.path, SEGMENT) is None
    assert not remove_if_drained(segment.path)


def test_a_segment_that_cannot_be_read_at_all_is_told_and_its_entries_are_not_done_with(tmp_path: Path) -> None:
    spool, segment, entries = with_entries(tmp_path / "spool", 1)
    overwrite(segment.path, 0, b"\xff" * (SLOTS_AT + 200 * SECTOR))
    assert spool.waits(entries[0])
    assert spool.count().damaged == 1
    with pytest.raises(OSError, match="neither a header nor a slot"):
        spool.source(entries[0])


@pytest.mark.parametrize("slot", [0, 5, 11])
def test_a_slot_that_was_zeroed_keeps_its_segment(tmp_path: Path, slot: int) -> None:
    spool, segment, entries = with_entries(tmp_path / "spool", 1)
    overwrite(segment.path, SLOTS_AT + slot * SECTOR, bytes(SECTOR))
    spool.finish([entry for number, entry in enumerate(entries) if number != slot])
    if slot < 11:  # nothing tells that there was a last one
        assert spool.count().damaged == 1
        assert Segment.take(segment.path, SEGMENT) is None


def test_a_copy_of_a_segment_is_no_segment(tmp_path: Path) -> None:
    spool, segment, entries = with_entries(tmp_path / "spool", 1)
    copy = segment.path.with_name("00000000abcd.seg")
    copy.write_bytes(segment.path.read_bytes())
    assert list(spool.entries()) == entries
    assert spool.count().damaged == 1
    with pytest.raises(OSError, match="a copy"):
        Segment.take(copy, SEGMENT)


def test_the_old_name_of_a_place_marks_nothing_that_lies_there_now(tmp_path: Path) -> None:
    spool, segment, old = with_entries(tmp_path / "spool", 1)
    slow = Spool(spool.path, log_bytes=0)
    assert all(slow.waits(entry) for entry in old)
    spool.finish(old)
    taken = Segment.take(segment.path, SEGMENT)
    assert taken is not None
    new = [seal(taken, b"new") for _ in range(3)]
    spool.finish(new[:2])
    slow.finish(old)
    assert list(spool.entries()) == new[2:]
    assert not spool.waits(new[0])


def test_a_write_that_fails_poisons_the_place_and_the_next_instance_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path / "spool")
    first = spool_one(spool, b"x")
    bad = str(spool.source(first).path)
    real = os.pwrite

    def pwrite(fd: int, data: bytes, place: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") == bad and place > SLOTS_AT + 1024 * SECTOR // 8:
            raise OSError(5, "Input/output error")
        return real(fd, data, place)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with spool.begin(ORIGIN) as file, pytest.raises(OutOfResourcesError):
        file.write(b"y")
    assert spool_one(spool, b"z").segment != first.segment
    assert spool.trouble()["count"] == 1
    spool.close()


def test_a_segment_is_not_used_again_where_its_poison_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path / "spool")
    first = spool_one(spool, b"x")
    path = spool.source(first).path
    with spool.begin(ORIGIN) as file:
        file.write(b"y")
        with monkeypatch.context() as patched:

            def broken(*_: object) -> None:
                raise OSError(5, "Input/output error")

            patched.setattr(os, "fdatasync", broken)
            patched.setattr("vna.ingest.spool.segment.write_all", broken)
            with pytest.raises(OutOfResourcesError):
                file.seal()
    spool.finish(list(spool.entries()))
    assert spool.pool._take_one(path) is None
    spool.close()


def test_a_folder_of_segments_whose_sync_failed_is_not_used_by_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[Path] = []

    def once(folder: Path) -> None:
        if not failed:
            failed.append(folder)
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(pool_module, "sync_folder", once)
    spool = Spool(tmp_path / "spool", log_bytes=4 * SEGMENT)
    spool.prepare()
    while not failed or not spool.trouble():
        pass
    assert spool.pool.lend() is None
    assert spool_one(spool, b"x").segment == -1
    spool.close()


def test_a_folder_whose_name_is_not_durable_is_not_found_by_the_next_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_folder: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("vna.files.sync_folder", broken)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                make_durable_folder(tmp_path / "a")
    make_durable_folder(tmp_path / "a")


def test_the_keeper_of_segments_survives_whatever_it_meets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    real = Segment.make.__func__  # type: ignore[attr-defined]

    def make(cls: type[Segment], *args: object) -> Segment:
        if not met:
            met.append(1)
            raise ValueError("a bug")
        made: Segment = real(cls, *args)
        return made

    monkeypatch.setattr(Segment, "make", classmethod(make))
    open_spool(tmp_path / "spool").close()
    assert met


def test_removed_segments_are_not_kept_open(tmp_path: Path) -> None:
    spool, segment, entries = with_entries(tmp_path / "spool", 1)
    worker = Spool(spool.path, log_bytes=0)
    worker.finish(entries[:6])
    spool.finish(entries[6:])
    assert spool.trim(0) == 1
    worker.finish([])
    held = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            held.append(os.readlink(f"/proc/self/fd/{fd}"))
    assert not [path for path in held if str(segment.path) in path]


def test_a_folder_of_files_that_cannot_be_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", log_bytes=0)
    entries = [spool_one(spool, bytes([number])) for number in range(5)]
    bad = Path(spool.files.folder_of(entries[0].name))
    real_list, real_stat = os.listdir, os.stat

    def listdir(path: object) -> list[str]:
        if path == bad:
            raise OSError(5, "Input/output error")
        return real_list(path)  # type: ignore[call-overload, no-any-return]

    def stat(path: object, **more: object) -> os.stat_result:
        if str(path).startswith(str(bad)):
            raise OSError(5, "Input/output error")
        return real_stat(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(os, "stat", stat)
    assert {entry.name for entry in spool.entries()} == {
        entry.name for entry in entries if spool.files.folder_of(entry.name) != str(bad)
    }
    assert spool.count().damaged == 1
    assert spool.waits(entries[0])
    with pytest.raises(OSError, match="Input/output"):
        spool.source(entries[0])


def test_what_cannot_be_marked_is_the_services_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", log_bytes=0)
    entry = spool_one(spool, b"x")

    def broken(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "unlink", broken)
    with pytest.raises(UnavailableError, match="cannot be marked"):
        spool.finish([entry])


def test_an_earlier_spool_that_cannot_be_taken_over_yet_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spool"
    (path / "incoming").mkdir(parents=True)

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("vna.ingest.spool.room.upgrade", broken)
        spool = Spool(path, log_bytes=0)
    assert any("earlier version" in fault for fault in spooled(spool).faults)
    assert [spool_one(spool, b"x")] == list(spool.entries())
