"""What is the SQLite index's own: its files, and what happens when they are not as they should be."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event as EventType
from pathlib import Path

import pytest

from tests.contracts import index_data as d
from vna.domain.errors import InvalidQueryError, UnavailableError
from vna.domain.query import AnyOf, Level, Query, Wildcard
from vna.index import sqlite_files, sqlite_schema, sqlite_scroll, sqlite_turn
from vna.index.sqlite import SqliteIndex


@pytest.fixture
def index(tmp_path: Path) -> SqliteIndex:
    return SqliteIndex(tmp_path / "below" / "index.sqlite")


def content_files(index: SqliteIndex) -> list[Path]:
    return index._files.contents()


def test_nothing_is_opened_before_it_is_needed(index: SqliteIndex) -> None:
    assert not index._path.parent.exists()
    index.check()
    assert index._path.exists()
    index.close()


def test_a_damaged_file_is_unavailable_and_says_what_to_do(index: SqliteIndex) -> None:
    index.upsert([d.instance(sop=str(number)) for number in range(50)])
    index.close()
    (content,) = content_files(index)
    content.write_bytes(b"not a database" * 1000)
    for call in (index.counts, index.check, lambda: index.upsert([d.instance()])):
        with pytest.raises(UnavailableError, match="vna reindex"):
            call()
    index.close()


def test_a_damaged_control_file_is_unavailable(index: SqliteIndex) -> None:
    index._path.parent.mkdir()
    index._path.write_bytes(b"not a database" * 1000)
    with pytest.raises(UnavailableError, match="damaged"):
        index.get_state("key")
    with pytest.raises(UnavailableError, match="damaged"):
        index.check()


def test_a_locked_file_is_unavailable_for_writes_and_answers_searches(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.upsert([d.instance()])
    index.close()
    monkeypatch.setattr(sqlite_schema, "BUSY_SECONDS", 0.1)
    (content,) = content_files(index)
    other = sqlite3.connect(content, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert index.counts().instances == 1
    for call in (index.check, lambda: index.upsert([d.instance(sop="2")])):
        with pytest.raises(UnavailableError, match="locked"):
            call()
    other.execute("ROLLBACK")
    other.close()
    index.upsert([d.instance(sop="2")])
    assert index.counts().instances == 2
    index.close()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError):
        SqliteIndex(tmp_path / "file" / "index.sqlite").check()


def test_a_content_file_that_was_removed_is_made_anew_and_state_is_kept(index: SqliteIndex) -> None:
    index.upsert([d.instance()])
    state = index.put_state("key", {"n": 1}, None)
    index.close()
    for file in content_files(index):
        file.unlink()
    assert index.counts().instances == 0
    assert index.get_state("key") == state
    index.close()


def test_a_full_disk_is_unavailable(index: SqliteIndex) -> None:
    index.upsert([d.instance()])
    connection = index._files.session.content(index._files.session.current)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(UnavailableError, match="disk space"):
        index.upsert([d.instance(sop=str(number), terms={"00104000": "x" * 9000}) for number in range(50)])
    connection.execute("PRAGMA max_page_count = 1000000")
    assert index.counts().instances == 1
    index.upsert([d.instance(sop="2")])
    assert index.counts().instances == 2
    index.close()


def test_a_swap_that_a_crash_cut_in_two_is_finished_by_whoever_comes_next(index: SqliteIndex) -> None:
    index.upsert([d.instance(sop="1")])
    with index.rebuild() as new:
        new.upsert([d.instance(sop="2"), d.instance(sop="3")])
    index.upsert([d.instance(sop="4")])
    # As it is between the two steps of a swap: the old file has its successor, the control file names the old one.
    (used,) = content_files(index)
    old = index._files.new_name()
    sqlite_schema.create_content(index._files.folder / old)
    connection = sqlite_schema.connect(index._files.folder / old)
    connection.execute("INSERT INTO meta VALUES (?, ?)", (sqlite_files.SUCCESSOR, used.name))
    connection.close()
    index._files.session.control.execute("UPDATE content SET file = ?", (old,))
    index.close()
    assert index.counts().instances == 3
    row = index._files.session.control.execute("SELECT file FROM content").fetchone()
    assert row == (used.name,)
    with index.rebuild():
        pass
    assert len(content_files(index)) == 1
    index.close()


def test_one_content_file_is_left_after_rebuilds(index: SqliteIndex) -> None:
    index.upsert([d.instance()])
    for _ in range(3):
        with index.rebuild() as new:
            new.upsert([d.instance()])
    assert len(content_files(index)) == 1
    assert index.counts().instances == 1
    index.close()


def test_a_thread_that_had_the_old_file_open_follows_the_swap(index: SqliteIndex) -> None:
    seen: list[int] = []
    turns = [threading.Event() for _ in range(2)]

    def look() -> None:
        seen.append(index.counts().instances)
        turns[0].set()
        assert turns[1].wait(30)
        seen.append(index.counts().instances)
        index.upsert([d.instance(sop="9")])
        seen.append(index.counts().instances)

    index.upsert([d.instance()])
    thread = threading.Thread(target=look)
    thread.start()
    assert turns[0].wait(30)
    with index.rebuild() as new:
        new.upsert([d.instance(sop=str(number)) for number in range(3)])
    turns[1].set()
    thread.join(30)
    assert seen == [1, 3, 4]
    index.close()


def _in_a_child(index: SqliteIndex) -> None:
    index.upsert([d.instance(sop="2")])
    os._exit(0 if index.counts().instances == 2 else 1)


def test_a_forked_child_has_connections_of_its_own(index: SqliteIndex) -> None:
    index.upsert([d.instance(sop="1")])
    child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(index,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert index.counts().instances == 2
    index.close()


def test_a_thread_that_ended_leaves_no_connection(index: SqliteIndex) -> None:
    index.counts()
    threads = [threading.Thread(target=index.counts) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del thread, threads
    assert len(index._files._sessions) == 1
    index.close()


def test_a_power_cut_takes_no_committed_upsert_back(index: SqliteIndex) -> None:
    index.check()
    connection = index._files.session.content(index._files.session.current)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: each commit is made durable
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    index.close()


def test_values_that_no_attribute_can_have_are_refused(index: SqliteIndex) -> None:
    for criterion in (AnyOf(d.PATIENT_ID, ("\ud800",)), Wildcard(d.PATIENT_NAME, "a" * 5000)):
        with pytest.raises(InvalidQueryError):
            index.query(Query(Level.STUDY, (criterion,)))
    index.close()


def test_a_pattern_of_many_stars_takes_no_time(index: SqliteIndex) -> None:
    index.upsert([d.instance(terms={d.PATIENT_NAME: "a" * 5000})])
    assert index.query(Query(Level.STUDY, (Wildcard(d.PATIENT_NAME, "a*" * 300 + "b"),))) == []
    index.close()


@pytest.mark.parametrize(
    ("level", "criteria"),
    [
        (Level.STUDY, (AnyOf(d.PATIENT_ID, ("P1",)),)),
        (Level.STUDY, (Wildcard(d.PATIENT_NAME, "do*"),)),
        (Level.SERIES, (AnyOf(d.STUDY_UID, ("1.1",)),)),
        (Level.INSTANCE, (AnyOf(d.STUDY_UID, ("1.1",)),)),
        (Level.INSTANCE, (AnyOf(d.SERIES_UID, ("1.1.1",)),)),
        (Level.INSTANCE, (AnyOf(d.SOP_UID, ("1.1.1.1",)),)),
        (Level.INSTANCE, (AnyOf(d.PATIENT_ID, ("P1",)),)),
    ],
)
def test_usual_keys_are_looked_up_and_not_scanned(
    index: SqliteIndex, level: Level, criteria: tuple[AnyOf | Wildcard, ...]
) -> None:
    from vna.index import sqlite_query

    sql = sqlite_query.keys(Query(level, criteria, limit=100))
    with index._reading() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql.text}", sql.parameters)]
    assert [step for step in plan if step.startswith("SCAN") and "VIRTUAL" not in step] == []
    index.close()


def test_an_index_of_an_earlier_version_says_so_until_it_is_rebuilt(index: SqliteIndex) -> None:
    assert not index.outdated()
    (content,) = content_files(index)
    with sqlite3.connect(content) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'layout'")
    connection.close()
    assert index.outdated()
    with index.rebuild():
        pass
    assert not index.outdated()
    index.close()


def _hold_the_turn(path: Path, ready: EventType) -> None:
    index = SqliteIndex(path)
    with index._files.turn():
        ready.set()
        time.sleep(600)


def test_a_stopped_writer_is_named_by_who_waits_for_it(index: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_turn, "WAIT_SECONDS", 0.3)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    holder = spawn.Process(target=_hold_the_turn, args=(index._path, ready))
    holder.start()
    assert holder.pid is not None
    try:
        assert ready.wait(60)
        os.kill(holder.pid, signal.SIGSTOP)
        for call in (lambda: index.upsert([d.instance()]), index.check):
            with pytest.raises(UnavailableError, match=rf"process {holder.pid} \(which is stopped\)"):
                call()
    finally:
        holder.kill()
        holder.join()
    index.upsert([d.instance()])
    assert index.counts().instances == 1
    index.close()


def test_a_thread_that_holds_the_turn_is_not_waited_for_without_end(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_turn, "WAIT_SECONDS", 0.1)
    with index._files.turn(), ThreadPoolExecutor(1) as threads, pytest.raises(UnavailableError, match="another thread"):
        threads.submit(index.upsert, [d.instance()]).result()
    index.close()


@pytest.mark.parametrize("level", list(Level))
def test_a_slow_reader_does_not_keep_the_log_growing(index: SqliteIndex, level: Level) -> None:
    index.upsert([d.instance(f"1.{number}", terms={d.PATIENT_ID: str(number)}) for number in range(30)])
    scroll = index.scroll(Query(level), page=2)
    found = [next(scroll).id]
    index.upsert([d.instance(f"2.{number}", terms={d.PATIENT_ID: f"x{number}"}) for number in range(50)])
    connection = index._files.session.content(index._files.session.current)
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    log = index._files.folder / f"{index._files.session.current}-wal"
    assert log.stat().st_size == 0
    found += [hit.id for hit in scroll]
    assert len(found) == len(set(found)) == 30
    index.close()


@pytest.mark.parametrize("by_identity", [False, True])
@pytest.mark.parametrize("level", list(Level))
def test_very_many_matches_are_read_in_runs(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch, level: Level, by_identity: bool
) -> None:
    index.upsert(
        [
            d.instance(
                f"1.{number % 25}",
                str(number % 2),
                str(number),
                terms={
                    d.PATIENT_ID: f"P{number % 9}",
                    d.STUDY_DATE: None if number % 5 == 0 else f"2024010{number % 3 + 1}",
                    d.STUDY_TIME: None if number % 4 == 0 else f"1{number % 2}0000.000000",
                    d.SERIES_NUMBER: None if number % 3 == 0 else str(number % 2),
                    d.INSTANCE_NUMBER: None if number % 7 == 0 else str(number % 3),
                },
            )
            for number in range(100)
        ]
    )
    pages = [(None, 0), (None, 5), (7, 0), (11, 9), (100, 40)]
    for criteria, (limit, offset) in itertools.product(((), (Wildcard(d.PATIENT_ID, "P*"),)), pages):
        query = Query(level, criteria, limit=limit, offset=offset, by_identity=by_identity)
        expected = [hit.id for hit in index.query(query)]
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_scroll, "RUN", 4)
            assert [hit.id for hit in index.scroll(query, page=3)] == expected
    index.close()


def test_one_that_moves_between_two_runs_comes_once(index: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_scroll, "RUN", 3)
    given = [
        d.instance(f"1.{number}", received=100, terms={d.STUDY_DATE: f"202401{20 - number}"}) for number in range(9)
    ]
    index.upsert(given)
    scroll = index.scroll(Query(Level.STUDY), page=1)
    found = [next(scroll).id]
    # An older instance changes the date of the first study: it is behind all others now.
    index.upsert([d.instance("1.0", sop="9", received=1, terms={d.STUDY_DATE: "19990101"})])
    found += [hit.id for hit in scroll]
    assert len(found) == len(set(found)) == 9
    index.close()


def test_a_check_writes(index: SqliteIndex) -> None:
    index.check()
    connection = index._files.session.content(index._files.session.current)
    before = connection.execute("SELECT value FROM meta WHERE key = 'canary'").fetchone()
    index.check()
    after = connection.execute("SELECT value FROM meta WHERE key = 'canary'").fetchone()
    assert before != after
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(UnavailableError):
        index.check()
    index.close()


def test_many_open_a_new_index_at_once(tmp_path: Path) -> None:
    for number in range(40):
        index = SqliteIndex(tmp_path / str(number) / "index.sqlite")
        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(index.get_state, ["counter"] * 6)) == [None] * 6
        index.close()
