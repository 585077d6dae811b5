"""From the spool to stored and searchable, over the real folder store and SQLite."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom.data
import pytest

from tests.support.instances import ORIGIN, Acknowledged, content_of, digest_of, make_settings, part10, spool_one
from tests.support.ports import wait_until
from vna.bootstrap import Archive
from vna.domain.errors import InvalidQueryError, UnavailableError, UnsupportedError
from vna.domain.file_range import FileRange
from vna.domain.origin import Origin, now_us
from vna.domain.query import Hit, Level, Query
from vna.domain.records import IndexedInstance
from vna.ingest import backlog, document
from vna.ingest.commit import CommitReport, Committer
from vna.ingest.conflict import conflict_key
from vna.ingest.journal import Journal
from vna.ingest.spool import SpoolEntry
from vna.ingest.spool.entry import encode_origin
from vna.ports.index import Upserted
from vna.ports.objects import Put


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(make_settings(tmp_path / "data"))
    yield made
    made.close()


@pytest.fixture
def oracle() -> Acknowledged:
    return Acknowledged.empty()


def committer(archive: Archive, build: Any = document.build) -> Committer:
    return Committer(
        archive.spool, archive.objects, archive.index, Journal(archive.spool), archive.quarantine, build=build
    )


def commit_all(archive: Archive, made: Committer | None = None) -> CommitReport:
    names = sorted(entry.name for entry in archive.spool.entries())
    return (made or committer(archive)).commit(names)


def hits(archive: Archive, level: Level) -> list[Hit]:
    archive.index.refresh()
    return archive.index.query(Query(level))


def test_a_batch_is_stored_and_found(archive: Archive, oracle: Acknowledged) -> None:
    oracle.spool(archive.spool, [part10(number, study=1 + number % 3, series=1 + number % 2) for number in range(64)])
    report = commit_all(archive)
    assert report.stored == 64
    assert (report.duplicates, report.conflicts, report.gone, report.quarantined, report.failed) == (0, 0, 0, [], [])
    oracle.check(archive)
    assert len(hits(archive, Level.STUDY)) == 3
    assert len(hits(archive, Level.SERIES)) == 6
    assert list((archive.spool.path / "attempts").iterdir()) == []


def test_what_is_stored_tells_whence_it_came(archive: Archive) -> None:
    data = part10(5)
    entry = spool_one(archive.spool, data, Origin("stow", "alice", "", "192.0.2.9"))
    commit_all(archive)
    (hit,) = hits(archive, Level.INSTANCE)
    assert hit.location is not None
    assert archive.objects.get(hit.location.key) == data
    metadata = document.parse_metadata(archive.objects.get(hit.location.key.removesuffix(".dcm") + ".json"))
    assert metadata.origin == Origin("stow", "alice", "", "192.0.2.9")
    assert metadata.received_us == entry.received_us
    assert metadata.digest == content_of(data)


def test_doing_it_all_again_changes_nothing(archive: Archive, oracle: Acknowledged, tmp_path: Path) -> None:
    data = [part10(number) for number in range(8)]
    oracle.spool(archive.spool, data)
    commit_all(archive)
    oracle.spool(archive.spool, data)
    report = commit_all(archive)
    assert (report.stored, report.duplicates, report.conflicts) == (0, 8, 0)
    oracle.check(archive)


def test_names_without_a_file_are_done_already(archive: Archive) -> None:
    entry = spool_one(archive.spool, part10())
    archive.spool.finish([entry])
    assert committer(archive).commit([entry.name]).gone == 1


def test_names_that_are_no_entries_touch_nothing(archive: Archive, tmp_path: Path) -> None:
    victim = tmp_path / "victim.dcm"
    victim.write_bytes(part10())
    report = committer(archive).commit(["../../../victim.dcm", str(victim), "", "x" * 5000])
    assert report == CommitReport()
    assert victim.exists()
    assert archive.quarantine.count() == 0


def test_same_bytes_twice_are_one_instance(archive: Archive, oracle: Acknowledged) -> None:
    data = part10()
    oracle.spool(archive.spool, [data, data])
    report = commit_all(archive)
    assert (report.stored, report.duplicates) == (1, 1)
    oracle.spool(archive.spool, [data])
    assert commit_all(archive).duplicates == 1
    oracle.check(archive)


def test_the_index_holds_what_the_stored_metadata_says(archive: Archive) -> None:
    data = part10()
    first = spool_one(archive.spool, data)
    second = spool_one(archive.spool, data)
    made = committer(archive)
    made.commit([second.name])
    given: list[IndexedInstance] = []
    real = archive.index.upsert

    def upsert(instances: Sequence[IndexedInstance]) -> list[Upserted]:
        given.extend(instances)
        return real(instances)

    archive.index.upsert = upsert  # type: ignore[method-assign]
    made.commit([first.name])
    assert [instance.received_us for instance in given] == [second.received_us]


def test_the_same_data_set_from_another_sender_is_the_same_instance(archive: Archive, oracle: Acknowledged) -> None:
    data = part10(1)
    name = b"\x02\x00\x16\x00AE\x06\x00OTHER "  # SourceApplicationEntityTitle
    length = int.from_bytes(data[140:144], "little") + len(name)
    end = 144 + int.from_bytes(data[140:144], "little")
    again = data[:140] + length.to_bytes(4, "little") + data[144:end] + name + data[end:]
    made = committer(archive)
    made.commit([entry.name for entry in oracle.spool(archive.spool, [data])])
    report = made.commit([spool_one(archive.spool, again, Origin("stow", "OTHER")).name])
    assert (report.stored, report.duplicates, report.conflicts) == (0, 1, 0)
    oracle.check(archive)


@pytest.mark.parametrize("first", [0, 1])
def test_other_bytes_under_the_same_uids_are_kept_and_noted(archive: Archive, oracle: Acknowledged, first: int) -> None:
    contents = [part10(1, pixels=b"\1" * 128), part10(1, pixels=b"\2" * 128)]
    entries = oracle.spool(archive.spool, contents)
    made = committer(archive)
    reports = [made.commit([entries[number].name]) for number in (first, 1 - first)]
    assert [report.conflicts for report in reports] == [0, 1]
    oracle.check(archive)
    (hit,) = hits(archive, Level.INSTANCE)
    assert hit.location is not None
    # The one received first is found, whichever was committed first.
    assert hit.location.digest == content_of(contents[0])
    (fact,) = archive.objects.list("facts/conflict/")
    assert fact.key == conflict_key(hit.location.uids.instance_id, content_of(contents[1]))
    told = json.loads(archive.objects.get(fact.key))
    assert archive.objects.get(told["key"]) == contents[1]


def test_a_crash_between_index_and_fact_loses_no_conflict(archive: Archive, oracle: Acknowledged) -> None:
    entries = oracle.spool(archive.spool, [part10(1, pixels=b"\1" * 128), part10(1, pixels=b"\2" * 128)])
    made = committer(archive)
    made.commit([entries[0].name])
    real = archive.objects.replace

    def replace(key: str, data: bytes) -> None:
        raise UnavailableError("store: down")

    archive.objects.replace = replace  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        made.commit([entries[1].name])
    archive.objects.replace = real  # type: ignore[method-assign]
    assert list(archive.objects.list("facts/")) == []
    made.commit([entries[1].name])
    assert len(list(archive.objects.list("facts/conflict/"))) == 1
    oracle.check(archive)


def test_what_cannot_be_read_is_put_aside_and_the_rest_goes_on(archive: Archive, oracle: Acknowledged) -> None:
    bad = spool_one(archive.spool, b"this is no DICOM file" * 20)
    oracle.spool(archive.spool, [part10(number) for number in range(5)])
    report = commit_all(archive)
    assert report.stored == 5
    assert report.quarantined == [bad.name]
    oracle.check(archive)
    (item,) = archive.quarantine.list()
    assert item.error == "UnparsableError"
    assert item.reason


def test_a_torn_file_is_put_aside(archive: Archive) -> None:
    entry = SpoolEntry.parse(f"{now_us():014x}.0123456789ab.400.{encode_origin(ORIGIN)}.dcm")
    incoming = archive.spool.path / "incoming"
    incoming.mkdir()
    (incoming / entry.name).write_bytes(part10()[:200])
    report = commit_all(archive)
    assert report.quarantined == [entry.name]
    assert "torn" in next(archive.quarantine.list()).reason


def test_unexpected_failures_are_counted_alone_and_end_in_quarantine(archive: Archive, oracle: Acknowledged) -> None:
    poison = spool_one(archive.spool, part10(99))
    batches: list[int] = []

    def build(data: FileRange | bytes, digest: str, size: int, received_us: int, origin: Origin) -> document.Document:
        if received_us == poison.received_us:
            raise RecursionError("nested too deep")
        return document.build(data, digest, size, received_us, origin)

    made = committer(archive, build)
    real = made._journal.begin

    def begin(names: Sequence[str]) -> None:
        if poison.name in names:
            batches.append(len(names))
        real(names)

    made._journal.begin = begin  # type: ignore[method-assign]
    for attempt in range(3):
        oracle.spool(archive.spool, [part10(10 * attempt + number) for number in range(4)])
        report = commit_all(archive, made)
        assert report.stored == 4
        assert report.failed == ([poison.name] if attempt < 2 else [])
    # With others the first time, when nobody knew; never again.
    assert batches == [5, 1, 1]
    oracle.check(archive)
    (item,) = archive.quarantine.list()
    assert (item.error, item.attempts) == ("RecursionError", 3)
    assert "nested too deep" in item.reason
    assert made._journal.suspects() == set()


def test_a_retried_entry_goes_through_when_the_cause_is_gone(archive: Archive, oracle: Acknowledged) -> None:
    (entry,) = oracle.spool(archive.spool, [part10()])

    def build(*_: Any) -> document.Document:
        raise ValueError("a bug")

    made = committer(archive, build)
    for _ in range(3):
        commit_all(archive, made)
    (item,) = archive.quarantine.list()
    assert list(archive.spool.entries()) == []
    assert archive.quarantine.retry(item.id[:6]).received_us == entry.received_us
    assert commit_all(archive).stored == 1
    oracle.check(archive)
    assert archive.quarantine.count() == 0
    assert list((archive.spool.path / "attempts").iterdir()) == []


@pytest.mark.parametrize("part", ["objects", "index"])
def test_services_that_are_down_count_as_nobodys_failure(archive: Archive, oracle: Acknowledged, part: str) -> None:
    oracle.spool(archive.spool, [part10(number) for number in range(5)])
    made = committer(archive)
    service: Any = getattr(archive, part)
    call = "put_batch" if part == "objects" else "upsert"
    real = {name: getattr(service, name) for name in (call, "check")}

    def down(*_: Any) -> Any:
        raise UnavailableError("down")

    for name in real:
        setattr(service, name, down)
    for _ in range(5):
        with pytest.raises(UnavailableError):
            commit_all(archive, made)
    assert len(list(archive.spool.entries())) == 5
    for name, method in real.items():
        setattr(service, name, method)
    report = commit_all(archive, made)
    assert report.stored + report.duplicates == 5
    oracle.check(archive)
    assert archive.quarantine.count() == 0
    assert list((archive.spool.path / "attempts").iterdir()) == []


def test_an_entry_that_the_index_refuses_for_good_does_not_hold_up_its_batch(
    archive: Archive, oracle: Acknowledged
) -> None:
    oracle.spool(archive.spool, [part10(number) for number in range(3)])
    refused = spool_one(archive.spool, part10(66))
    real = archive.index.upsert

    def upsert(instances: Sequence[IndexedInstance]) -> list[Upserted]:
        if any(instance.uids.sop.endswith(".66") for instance in instances):
            raise InvalidQueryError("cannot be mapped")
        return real(instances)

    archive.index.upsert = upsert  # type: ignore[method-assign]
    made = committer(archive)
    report = commit_all(archive, made)
    assert report.stored + report.duplicates == 3
    assert report.failed == [refused.name]
    commit_all(archive, made)
    assert commit_all(archive, made).quarantined == [refused.name]
    assert "cannot be mapped" in next(archive.quarantine.list()).reason


def test_an_entry_that_another_worker_finishes_meanwhile_is_no_error(archive: Archive, oracle: Acknowledged) -> None:
    entries = oracle.spool(archive.spool, [part10(number) for number in range(4)])
    mine, other = committer(archive), committer(archive)
    real = archive.objects.put_batch
    once = [entries[2].name]

    def put_batch(puts: Sequence[Put]) -> list[bool]:
        if once:
            archive.objects.put_batch = real  # type: ignore[method-assign]
            other.commit([once.pop()])
        return real(puts)

    archive.objects.put_batch = put_batch  # type: ignore[method-assign]
    report = mine.commit([entry.name for entry in entries])
    assert report.stored + report.duplicates + report.gone == 4
    oracle.check(archive)


def _race(folder: str, names: list[str], start: Any) -> None:
    archive = Archive(make_settings(Path(folder)))
    made = archive.committer()
    start.wait()
    for begin in range(0, len(names), 16):
        made.commit(names[begin : begin + 16])
    made.close()
    archive.close()


def test_workers_that_race_on_a_patients_first_instances_make_one_patient(
    archive: Archive, oracle: Acknowledged, tmp_path: Path
) -> None:
    entries = oracle.spool(archive.spool, [part10(number, study=1, series=1 + number % 3) for number in range(96)])
    names = [entry.name for entry in entries]
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    orders = [names, names[::-1], names[32:] + names[:32]]
    workers = [context.Process(target=_race, args=(str(tmp_path / "data"), order, start)) for order in orders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    oracle.check(archive)
    counts = archive.index.counts()
    assert (counts.patients, counts.studies, counts.series, counts.instances) == (1, 1, 3, 96)


def _real_files() -> list[Path]:
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return sorted(path for path in folder.rglob("*.dcm"))


def test_real_files_are_stored_or_put_aside_with_a_reason(archive: Archive) -> None:
    files = _real_files()
    assert len(files) > 50
    sent = {}
    for path in files:
        entry = spool_one(archive.spool, path.read_bytes(), ORIGIN)
        sent[entry.name] = digest_of(path.read_bytes())
    made = committer(archive)
    names = sorted(sent)
    done = 0
    for begin in range(0, len(names), 64):
        report = made.commit(names[begin : begin + 64])
        assert report.failed == []
        done += report.stored + report.duplicates + len(report.quarantined)
    assert done == len(names)
    stored = {
        digest_of(archive.objects.get(info.key))
        for info in archive.objects.list("instances/")
        if info.key.endswith(".dcm")
    }
    aside = {item.name: item for item in archive.quarantine.list()}
    for name, digest in sent.items():
        assert digest in stored or name in aside
    for item in aside.values():
        assert item.error == "UnparsableError"
        assert len(item.reason) > 10
    assert len(aside) < len(files) / 4


def test_what_the_service_refuses_is_blamed_on_no_entry(archive: Archive, oracle: Acknowledged) -> None:
    oracle.spool(archive.spool, [part10(number) for number in range(10)])
    made = committer(archive)
    service: Any = archive.objects
    real = {name: getattr(service, name) for name in ("put_batch", "check")}

    def expired(*_: Any) -> Any:
        raise UnsupportedError("S3: put: the provided token has expired")

    for name in real:
        setattr(service, name, expired)
    for _ in range(5):
        with pytest.raises(UnsupportedError):
            commit_all(archive, made)
    assert archive.quarantine.count() == 0
    assert list((archive.spool.path / "attempts").iterdir()) == []
    for name, method in real.items():
        setattr(service, name, method)
    assert commit_all(archive, made).stored == 10
    oracle.check(archive)


def test_refusals_without_end_stay_in_the_spool_and_go_on_when_somebody_has_looked(tmp_path: Path) -> None:
    archive = Archive(make_settings(tmp_path / "data", spool={"most_refusals": 5}))
    oracle = Acknowledged.empty()
    broken = [b"\0" * 128 + b"DICM" + bytes([number]) * 50 for number in range(12)]
    entries = [spool_one(archive.spool, data) for data in broken]
    made = archive.committer()
    report = made.commit([entry.name for entry in entries])
    assert (len(report.quarantined), len(report.held)) == (5, 7)
    # Neither another sender nor what can be read of this one is held up.
    other = spool_one(archive.spool, broken[0] + b"x", Origin("dimse", "MR1", "VNA", "192.0.2.2"))
    oracle.spool(archive.spool, [part10(1)])
    waiting = {entry.name for entry in archive.spool.entries()}
    report = made.commit(sorted(waiting))
    assert report.quarantined == [other.name]
    assert report.stored == 1
    assert len(report.held) == 7
    assert archive.quarantine.count() == 6
    assert any("held back" in fault for fault in backlog.spooled(archive.spool).faults)
    # That one of it could be stored begins the count anew; a person has what is held tried again.
    names = Journal(archive.spool).release()
    report = made.commit(names)
    assert (len(report.quarantined), len(report.held)) == (5, 2)
    archive.brake.release()
    report = made.commit(Journal(archive.spool).release())
    assert len(report.quarantined) == 2
    assert list(archive.spool.entries()) == []
    archive.close()


def test_bytes_that_the_disk_spoilt_are_never_stored_as_if_they_were_whole(archive: Archive) -> None:
    entry = spool_one(archive.spool, part10(1, pixels=bytes(5000)))
    good = Acknowledged.empty()
    source = archive.spool.source(entry)
    with source.path.open("r+b") as file:
        file.seek(source.offset + 3000)
        file.write(b"spoilt")
    good.spool(archive.spool, [part10(2)])
    made = committer(archive)
    for _ in range(3):
        report = commit_all(archive, made)
    assert report.quarantined == [entry.name]
    (item,) = archive.quarantine.list()
    assert "not those that were received" in item.reason
    assert b"spoilt" in archive.quarantine.file(item).read_bytes()
    good.check(archive)


def test_a_batch_of_large_headers_is_stored_in_pieces(archive: Archive, oracle: Acknowledged, monkeypatch: Any) -> None:
    monkeypatch.setattr("vna.ingest.commit._BATCH_BYTES", 5000)
    sizes = []
    real = archive.objects.put_batch

    def put_batch(puts: Sequence[Put]) -> list[bool]:
        sizes.append(len(puts) // 2)
        return real(puts)

    archive.objects.put_batch = put_batch  # type: ignore[method-assign]
    oracle.spool(archive.spool, [part10(number, pixels=bytes(1000)) for number in range(12)])
    assert commit_all(archive).stored == 12
    assert sum(sizes) == 12
    assert max(sizes) < 6
    oracle.check(archive)


def test_instances_of_every_size_are_stored(archive: Archive, oracle: Acknowledged) -> None:
    archive.spool.prepare()
    wait_until(lambda: archive.spool.pool.ready == 4, 60)
    sizes = [0, 1000, 900_000, (1 << 20) + 1, 3 << 20, (4 << 20) + 1, 9 << 20]
    entries = oracle.spool(archive.spool, [part10(number, pixels=bytes(size)) for number, size in enumerate(sizes)])
    assert [entry.segment >= 0 for entry in entries] == [True] * 5 + [False] * 2
    assert commit_all(archive).stored == len(sizes)
    oracle.check(archive)


@pytest.mark.parametrize("which", [".dcm", ".json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_resend_heals_what_is_damaged(archive: Archive, oracle: Acknowledged, which: str, damage: str) -> None:
    data = part10(1, pixels=bytes(2000))
    oracle.spool(archive.spool, [data])
    commit_all(archive)
    key = next(info.key for info in archive.objects.list("instances/") if info.key.endswith(which))
    path = archive.settings.objects_path / key
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(good[:-100] if damage == "cut" else good[:300] + b"\xff" + good[301:])
    spool_one(archive.spool, data)
    report = commit_all(archive)
    assert report.mended == ([] if damage == "gone" else [key])
    assert (report.stored, report.duplicates) == (0, 1)
    if which == ".dcm":
        assert path.read_bytes() == good
    oracle.check(archive)
    # Of good bytes nothing is made anew.
    spool_one(archive.spool, data)
    assert commit_all(archive).mended == []


def test_a_refusal_of_a_kind_that_nobody_knows_holds_up_no_neighbours(archive: Archive, oracle: Acknowledged) -> None:
    oracle.spool(archive.spool, [part10(number) for number in range(5)])
    poison = spool_one(archive.spool, part10(66))
    real = archive.index.upsert

    def upsert(instances: Sequence[IndexedInstance]) -> list[Upserted]:
        if any(instance.uids.sop.endswith(".66") for instance in instances):
            raise UnavailableError("400 something that no list knows")
        return real(instances)

    archive.index.upsert = upsert  # type: ignore[method-assign]
    made = committer(archive)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            commit_all(archive, made)
    with pytest.raises(UnavailableError):  # taken apart, and the one is tried alone
        commit_all(archive, made)
    for entry in list(archive.spool.entries()):  # as the sweeper sends them now
        if entry.name != poison.name:
            made.commit([entry.name])
    assert [entry.name for entry in archive.spool.entries()] == [poison.name]
    for _ in range(60):
        try:
            if made.commit([poison.name]).quarantined:
                break
        except UnavailableError:
            continue
    (item,) = archive.quarantine.list()
    assert "no list knows" in item.reason


def test_a_quarantine_that_takes_nothing_holds_up_no_neighbours(
    archive: Archive, oracle: Acknowledged, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = spool_one(archive.spool, b"no DICOM" * 50)
    oracle.spool(archive.spool, [part10(number) for number in range(5)])

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "no space left on the disk")

    monkeypatch.setattr("vna.ingest.quarantine.intake.write_durably", full)
    made = committer(archive)
    report = commit_all(archive, made)
    assert (report.stored, report.quarantined, report.failed) == (5, [], [bad.name])
    assert [entry.name for entry in archive.spool.entries()] == [bad.name]
    assert "no space" in str(archive.spool.trouble())
    known = Journal(archive.spool).get(bad.name)
    assert known is not None
    assert known.error
    assert commit_all(archive, made).failed == [bad.name]
    monkeypatch.undo()
    assert commit_all(archive, made).quarantined == [bad.name]
    oracle.check(archive)


def test_a_quarantine_whose_folder_is_gone_is_no_entry_that_is_done_with(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = spool_one(archive.spool, b"no DICOM" * 50)

    def missing(*_: Any) -> Any:
        raise FileNotFoundError("the folder")

    monkeypatch.setattr("vna.ingest.quarantine.intake.write_durably", missing)
    report = commit_all(archive)
    assert (report.gone, report.failed) == (0, [bad.name])


def test_bytes_that_cannot_be_read_end_in_quarantine(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = spool_one(archive.spool, part10(1))
    source = archive.spool.source(bad)
    real = os.preadv

    def preadv(fd: int, buffers: Any, at: int) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink() == source.path and at == source.offset:
            raise OSError(errno.EIO, "a bad sector")
        return real(fd, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)
    made = committer(archive)
    for _ in range(3):
        report = commit_all(archive, made)
    assert report.quarantined == [bad.name]
    assert "cannot be read" in next(archive.quarantine.list()).reason


def test_an_entry_is_counted_as_refused_when_it_is_done_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(make_settings(tmp_path / "data", spool={"most_refusals": 2}))
    bad = spool_one(archive.spool, b"no DICOM" * 50)

    def away(*_: Any) -> Any:
        raise UnavailableError("the store is away")

    made = archive.committer()
    monkeypatch.setattr(archive.objects, "replace", away)
    for _ in range(5):
        with pytest.raises(UnavailableError):
            made.commit([bad.name])
    monkeypatch.undo()
    assert made.commit([bad.name]).quarantined == [bad.name]
    archive.close()


def test_an_entry_that_is_given_up_is_in_hand_meanwhile(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = spool_one(archive.spool, b"no DICOM" * 50)
    for _ in range(3):
        Journal(archive.spool).add(bad.name, "it kills who reads it")
    seen = []
    real = archive.quarantine.put

    def put(*given: Any) -> Any:
        seen.append(Journal(archive.spool).in_hand())
        return real(*given)

    monkeypatch.setattr(archive.quarantine, "put", put)
    assert commit_all(archive).quarantined == [bad.name]
    assert seen == [{bad.name}]
    assert Journal(archive.spool).in_hand() == set()
