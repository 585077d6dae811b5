"""The index dropped and rebuilt from the object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instances import Acknowledged, content_of, make_settings, part10
from vna.bootstrap import Archive
from vna.domain.errors import UnavailableError
from vna.domain.query import Hit, Level, Query
from vna.lifecycle.reindex import reindex


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(make_settings(tmp_path / "data"))
    yield made
    made.close()


def fill(archive: Archive, count: int = 30) -> Acknowledged:
    oracle = Acknowledged.empty()
    oracle.spool(
        archive.spool, [part10(number, study=1 + number % 3, series=1 + number % 2) for number in range(count)]
    )
    commit(archive)
    return oracle


def commit(archive: Archive) -> None:
    committer = archive.committer()
    committer.commit(sorted(entry.name for entry in archive.spool.entries()))
    committer.close()


def everything(archive: Archive) -> list[list[Hit]]:
    archive.index.refresh()
    return [archive.index.query(Query(level)) for level in Level]


def drop_index(archive: Archive) -> None:
    archive.index.close()
    del archive.__dict__["index"]
    for path in archive.settings.data.glob("index.sqlite*"):
        path.unlink()


def test_the_same_is_found_as_before(archive: Archive) -> None:
    oracle = fill(archive)
    before = everything(archive)
    done: list[int] = []
    report = reindex(archive.objects, archive.index, done.append, batch=8)
    assert report.instances == 30
    assert (report.late, report.repaired, report.unreadable, report.without_bytes) == (0, [], [], [])
    assert done[:4] == [8, 16, 24, 30]
    assert everything(archive) == before
    oracle.check(archive)


def test_an_index_that_was_lost_comes_back(archive: Archive) -> None:
    oracle = fill(archive)
    before = everything(archive)
    drop_index(archive)
    assert everything(archive) == [[], [], [], []]
    reindex(archive.objects, archive.index)
    assert everything(archive) == before
    oracle.check(archive)


def test_what_is_in_the_index_alone_goes(archive: Archive) -> None:
    fill(archive, 4)
    for info in list(archive.objects.list("instances/")):
        archive.objects.delete(info.key)
    assert reindex(archive.objects, archive.index).instances == 0
    assert everything(archive) == [[], [], [], []]


def test_conflicts_come_out_as_they_were(archive: Archive) -> None:
    oracle = Acknowledged.empty()
    first, second = part10(1, pixels=b"\1" * 128), part10(1, pixels=b"\2" * 128)
    entries = oracle.spool(archive.spool, [first, second])
    committer = archive.committer()
    # Committed the other way round; the one received first is current all the same.
    committer.commit([entries[1].name])
    committer.commit([entries[0].name])
    committer.close()
    reindex(archive.objects, archive.index)
    oracle.check(archive)
    (hit,) = everything(archive)[3]
    assert hit.location is not None
    assert hit.location.digest == content_of(first)


def test_a_missing_metadata_document_is_made_from_the_bytes(archive: Archive) -> None:
    oracle = fill(archive)
    before = everything(archive)
    lost = [info.key for info in archive.objects.list("instances/") if info.key.endswith(".json")]
    kept = {key: archive.objects.get(key) for key in (lost[0], lost[-1])}
    for key in kept:
        archive.objects.delete(key)
    report = reindex(archive.objects, archive.index)
    assert sorted(report.repaired) == sorted(key.replace(".json", ".dcm") for key in kept)
    assert report.instances == 30
    assert [[hit.id for hit in hits] for hits in everything(archive)] == [[hit.id for hit in hits] for hits in before]
    oracle.check(archive)
    assert reindex(archive.objects, archive.index).repaired == []


def test_a_metadata_document_without_bytes_is_no_instance(archive: Archive) -> None:
    fill(archive)
    (key, *_) = (info.key for info in archive.objects.list("instances/") if info.key.endswith(".dcm"))
    archive.objects.delete(key)
    report = reindex(archive.objects, archive.index)
    assert report.without_bytes == [key.replace(".dcm", ".json")]
    assert report.instances == 29
    assert archive.index.counts().instances == 29


@pytest.mark.parametrize("junk", [b"", b"{", b'{"version": 0}', b"\xff\xfe"])
def test_an_unreadable_document_is_reported_and_its_instance_found(archive: Archive, junk: bytes) -> None:
    fill(archive)
    (key, *_) = (info.key for info in archive.objects.list("instances/") if info.key.endswith(".json"))
    archive.objects.delete(key)
    archive.objects.put(key, junk)
    report = reindex(archive.objects, archive.index)
    assert [key_ for key_, _ in report.unreadable] == [key]
    assert report.instances == 30
    assert archive.index.counts().instances == 30


def test_bytes_that_are_no_instance_are_reported(archive: Archive) -> None:
    fill(archive, 2)
    archive.objects.put("instances/zz/stray.dcm", b"no DICOM here" * 30)
    report = reindex(archive.objects, archive.index)
    assert [key for key, _ in report.unreadable] == ["instances/zz/stray.dcm"]
    assert report.instances == 2


def test_instances_that_arrive_meanwhile_are_found_afterwards(archive: Archive) -> None:
    oracle = fill(archive)
    number = iter(range(1000, 2000))

    def progress(_done: int) -> None:
        oracle.spool(archive.spool, [part10(next(number), study=7)])
        commit(archive)

    reindex(archive.objects, archive.index, progress, batch=10)
    oracle.check(archive)


def test_a_reindex_that_fails_leaves_the_old_index(archive: Archive) -> None:
    oracle = fill(archive)

    def progress(done: int) -> None:
        if done >= 20:
            raise UnavailableError("store: down")

    with pytest.raises(UnavailableError):
        reindex(archive.objects, archive.index, progress, batch=10)
    oracle.check(archive)
    reindex(archive.objects, archive.index)
    oracle.check(archive)
