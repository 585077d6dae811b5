"""An index that was lost is told from a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.instances import make_settings, part10, spool_one
from vna.bootstrap import Archive
from vna.cli.status import look
from vna.domain.errors import UnavailableError
from vna.domain.query import Level, Query
from vna.ingest.commit import Committer
from vna.lifecycle import index_loss
from vna.lifecycle.index_loss import Loss, find_loss
from vna.lifecycle.reindex import reindex
from vna.web import view_operations


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(make_settings(tmp_path / "data"))
    yield made
    made.close()


def store(archive: Archive, *numbers: int) -> None:
    for number in numbers:
        spool_one(archive.spool, part10(number))
    committer = archive.committer()
    committer.commit(sorted(entry.name for entry in archive.spool.entries()))
    committer.close()


def loss(archive: Archive) -> Loss | None:
    return find_loss(archive.objects, archive.index)


def remove_files(archive: Archive) -> None:
    for path in archive.settings.data.glob("index.sqlite*"):
        path.unlink()


def lose_index(archive: Archive) -> None:
    archive.index.close()
    remove_files(archive)


def unmark(archive: Archive, value: str | None) -> None:
    archive.index.close()
    (content,) = [path for path in archive.settings.data.glob("index.sqlite.*") if len(path.suffix) == 13]
    with sqlite3.connect(content) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'built'")
        if value is not None:
            connection.execute("INSERT INTO meta VALUES ('built', ?)", (value,))
    connection.close()


def test_a_new_archive_has_lost_nothing(archive: Archive) -> None:
    assert loss(archive) is None
    store(archive, 1)
    assert archive.index.built()
    store(archive, 2)
    assert loss(archive) is None


def test_a_new_archive_whose_first_instance_comes_before_anybody_looked_has_lost_nothing(archive: Archive) -> None:
    store(archive, 1)
    assert archive.index.built()
    assert loss(archive) is None


def test_two_that_start_at_once_take_a_new_archive_for_one(archive: Archive, tmp_path: Path) -> None:
    for number in range(40):
        spool_one(archive.spool, part10(number))
    names = sorted(entry.name for entry in archive.spool.entries())

    def work(part: list[str]) -> None:
        other = Archive(make_settings(tmp_path / "data"))
        committer = other.committer()
        for name in part:
            committer.commit([name])
        committer.close()
        other.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, (names[start::4] for start in range(4))))
    assert archive.index.built()
    assert loss(archive) is None
    assert archive.index.counts().instances == 40


def test_an_index_that_is_gone_is_lost_until_it_is_rebuilt(archive: Archive) -> None:
    store(archive, 1, 2, 3)
    lose_index(archive)
    found = loss(archive)
    assert str(found) == "the index was lost: 3 objects in the store, run `vna reindex`"
    store(archive, 4)
    assert archive.index.count(Query(Level.INSTANCE)) == 1
    assert loss(archive) == Loss(4)
    reindex(archive.objects, archive.index)
    assert loss(archive) is None
    assert archive.index.count(Query(Level.INSTANCE)) == 4


def test_files_removed_under_a_running_process_are_missed_by_it(archive: Archive) -> None:
    store(archive, 1, 2)
    remove_files(archive)
    store(archive, 3)
    other = Archive(archive.settings)
    assert other.index.count(Query(Level.INSTANCE)) == 1
    assert loss(other) == Loss(3)
    other.close()
    assert loss(archive) == Loss(3)


def test_all_parts_tell_of_the_loss(archive: Archive) -> None:
    store(archive, 1, 2)
    assert look(archive)["index"]["ok"]
    lose_index(archive)
    said = look(archive)["index"]
    assert not said["ok"]
    assert said["text"].startswith(
        "the index was lost: 2 objects in the store, run `vna reindex`; found are 0 patients"
    )
    part = view_operations._index(archive)
    assert (part.ok, part.value) == (False, "lost")


def test_an_index_of_the_version_before_is_well_if_it_has_rows(archive: Archive) -> None:
    store(archive, 1)
    unmark(archive, None)
    assert archive.index.built()
    assert loss(archive) is None


def test_an_empty_index_of_the_version_before_is_lost(archive: Archive) -> None:
    store(archive, 1)
    lose_index(archive)
    archive.index.counts()
    unmark(archive, None)
    assert loss(archive) == Loss(1)


def test_an_index_that_has_all_is_no_loss_though_nobody_marked_it(archive: Archive) -> None:
    store(archive, 1, 2, 3)
    unmark(archive, "")
    assert not archive.index.built()
    assert loss(archive) is None
    assert archive.index.built()


def test_what_is_more_than_can_be_looked_up_is_lost(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    store(archive, 1, 2, 3)
    unmark(archive, "")
    monkeypatch.setattr(index_loss, "_COMPARED", 2)
    assert str(loss(archive)) == "the index was lost: more than 2 objects in the store, run `vna reindex`"


def test_nothing_is_put_before_the_index_was_asked(archive: Archive) -> None:
    asked: list[bool] = []

    def settle() -> None:
        asked.append(any(archive.objects.list("instances/")))
        if len(asked) == 1:
            raise UnavailableError("the index is away")

    committer = Committer(
        archive.spool,
        archive.objects,
        archive.index,
        archive.quarantine._journal,
        archive.quarantine,
        before_first=settle,
    )
    spool_one(archive.spool, part10(1))
    names = [entry.name for entry in archive.spool.entries()]
    with pytest.raises(UnavailableError):
        committer.commit(names)
    committer.commit(names)
    committer.commit(names)
    assert asked == [False, False]
    committer.close()
