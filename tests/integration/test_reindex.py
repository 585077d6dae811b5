"""The index dropped and rebuilt from the object store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.instances import Acknowledged, content_of, make_settings, part10
from vna.bootstrap import Archive
from vna.domain.errors import IntegrityError, InvalidInputError, UnavailableError
from vna.domain.origin import Origin
from vna.domain.query import Hit, Level, Query
from vna.domain.records import Attributes, IndexedInstance
from vna.index import sqlite_write
from vna.ingest import document
from vna.lifecycle import patience
from vna.lifecycle.reindex import reindex
from vna.normalise.pipeline import Normalised
from vna.ports.index import Upserted
from vna.ports.objects import ObjectInfo
from vna.store.folder import FolderStore


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


def documents(archive: Archive) -> list[str]:
    return [info.key for info in archive.objects.list("instances/") if info.key.endswith(".json")]


def change(archive: Archive, key: str, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(archive.objects.get(key))
    edit(content)
    archive.objects.replace(key, json.dumps(content).encode())


@pytest.mark.parametrize(
    "error", [IndexError("out of range"), RecursionError("deep"), InvalidInputError("413 too large")]
)
def test_an_instance_that_the_index_does_not_take_is_named_and_the_rest_goes_on(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fill(archive, 20)
    real = sqlite_write.upsert

    def upsert(connection: sqlite3.Connection, instances: Sequence[IndexedInstance]) -> list[Upserted]:
        if any(instance.uids.sop.endswith(".7") for instance in instances):
            raise error
        return real(connection, instances)

    monkeypatch.setattr(sqlite_write, "upsert", upsert)
    report = reindex(archive.objects, archive.index, batch=8)
    [(key, reason)] = report.refused
    assert str(error) in reason
    assert key in documents(archive)
    assert (report.instances, report.refused.total, report.whole) == (19, 1, False)
    assert archive.index.counts().instances == 19


def test_an_index_that_takes_nothing_is_not_put_in_place(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = fill(archive, 5)

    def upsert(_connection: sqlite3.Connection, _instances: Sequence[IndexedInstance]) -> list[Upserted]:
        raise TypeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_write, "upsert", upsert)
        with pytest.raises(IntegrityError, match="takes nothing"):
            reindex(archive.objects, archive.index)
    oracle.check(archive)


def test_a_document_that_its_reader_stumbles_over_is_named(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(archive, 10)
    real = document.normalise

    def normalise(attributes: Attributes) -> Normalised:
        if attributes["00080018"]["Value"][0].endswith(".8"):
            raise IndexError("list index out of range")
        return real(attributes)

    monkeypatch.setattr(document, "normalise", normalise)
    report = reindex(archive.objects, archive.index)
    [(_, reason)] = report.unreadable
    assert "list index out of range" in reason
    assert (report.instances, archive.index.counts().instances) == (9, 9)


def test_a_document_of_a_newer_version_is_told_apart_and_loses_nothing(archive: Archive) -> None:
    oracle = fill(archive, 6)
    key = documents(archive)[0]
    change(archive, key, lambda content: content.update(version=2, dicom="in another way"))
    before = archive.objects.get(key)
    report = reindex(archive.objects, archive.index)
    [(named, reason)] = report.newer
    assert named == key
    assert "newer version of the archive" in reason
    assert (report.unreadable, report.repaired, report.instances, report.whole) == ([], [], 6, False)
    assert archive.objects.get(key) == before
    oracle.check(archive)
    # Other bytes of the same instance that came later are still the later ones.
    received = json.loads(before)["received_us"]
    assert document.reception(before) == (received, Origin(**json.loads(before)["origin"]))


def test_bytes_that_are_not_as_many_as_were_received_are_told(archive: Archive) -> None:
    fill(archive, 3)
    (key, *_) = (info.key for info in archive.objects.list("instances/") if info.key.endswith(".dcm"))
    file = archive.settings.objects_path / key
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-100])
    report = reindex(archive.objects, archive.index)
    assert report.differing == [(key, f"{len(data) - 100} bytes are stored, {len(data)} were received")]
    assert (report.instances, report.whole) == (3, False)


def test_services_that_fail_for_a_while_are_waited_for(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = fill(archive)
    random = Random(7)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(patience.Patience.__init__, "__kwdefaults__", {"seconds": 60.0, "attempts": 50, "pause": 0.001})
    objects, index = archive.objects, archive.index

    def flaky(call: Callable[..., Any]) -> Callable[..., Any]:
        def tried(*given: Any, **named: Any) -> Any:
            if random.random() < 0.3:
                raise UnavailableError("away for a moment")
            return call(*given, **named)

        return tried

    def listing(prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        for info in FolderStore.list(objects, prefix, after):  # type: ignore[arg-type]
            if random.random() < 0.2:
                raise UnavailableError("away in the middle")
            yield info

    monkeypatch.setattr(objects, "list", listing)
    for name in ("get_many", "get", "head", "check"):
        monkeypatch.setattr(objects, name, flaky(getattr(objects, name)))
    monkeypatch.setattr(sqlite_write, "upsert", flaky(sqlite_write.upsert))
    monkeypatch.setattr(index, "check", flaky(index.check))
    report = reindex(objects, index, batch=4)
    monkeypatch.undo()
    assert (report.instances, report.whole) == (30, True)
    oracle.check(archive)
