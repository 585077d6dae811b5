"""What every index does while a second one is built beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection

import pytest

from tests.contracts import index_data as d
from tests.contracts.index_adapters import IndexSpec, open_index
from vna.domain.errors import ConflictError
from vna.domain.query import Level, Query
from vna.ports.index import Index

SPAWN = multiprocessing.get_context("spawn")


class StopError(Exception):
    """Raised by a test inside a rebuild."""


def sops(index: Index) -> set[str]:
    index.refresh()
    return {hit.location.uids.sop for hit in index.query(Query(Level.INSTANCE)) if hit.location is not None}


def test_the_new_index_takes_the_place_of_the_old(index: Index) -> None:
    index.upsert([d.instance(sop="1"), d.instance(sop="2")])
    index.refresh()
    with index.rebuild() as new:
        assert sops(new) == set()
        new.upsert([d.instance(sop="2"), d.instance(sop="3")])
        assert sops(new) == {"1.2.1.1.2", "1.2.1.1.3"}
        assert sops(index) == {"1.2.1.1.1", "1.2.1.1.2"}
    assert sops(index) == {"1.2.1.1.2", "1.2.1.1.3"}


def test_upserts_and_removals_during_a_rebuild_go_to_both(index_spec: IndexSpec, index: Index) -> None:
    other = open_index(index_spec)
    old = d.instance(sop="1")
    index.upsert([old])
    index.refresh()
    with index.rebuild() as new:
        new.upsert([old])
        index.upsert([d.instance(sop="2")])
        other.upsert([d.instance(sop="3"), d.instance(sop="4")])
        other.refresh()
        new.refresh()
        assert other.remove([old.uids.instance_id, d.instance(sop="4").uids.instance_id]) == 2
        assert sops(other) == {"1.2.1.1.2", "1.2.1.1.3"}
    assert sops(index) == {"1.2.1.1.2", "1.2.1.1.3"}
    assert sops(other) == {"1.2.1.1.2", "1.2.1.1.3"}
    other.close()


def test_outcomes_during_a_rebuild_are_those_of_the_index_in_use(index: Index) -> None:
    first = d.instance(content="a")
    index.upsert([first])
    index.refresh()
    with index.rebuild():
        (found,) = index.upsert([d.instance(content="b", received=1)])
        assert found.other_digest == first.digest
        assert found.current is False


def test_a_rebuild_that_raises_leaves_the_old_index(index: Index) -> None:
    index.upsert([d.instance(sop="1")])
    index.refresh()

    def fail() -> None:
        with index.rebuild() as new:
            new.upsert([d.instance(sop="9")])
            raise StopError

    with pytest.raises(StopError):
        fail()
    assert sops(index) == {"1.2.1.1.1"}
    index.upsert([d.instance(sop="2")])
    with index.rebuild() as new:
        assert sops(new) == set()
        new.upsert([d.instance(sop="3")])
    assert sops(index) == {"1.2.1.1.3"}


def test_a_second_rebuild_at_once_is_a_conflict(index_spec: IndexSpec, index: Index) -> None:
    other = open_index(index_spec)
    with index.rebuild() as new:
        new.upsert([d.instance()])
        for one in (index, other):
            with pytest.raises(ConflictError), one.rebuild():
                pass
    assert sops(other) == {"1.2.1.1.1"}
    other.close()


def test_state_is_kept(index: Index) -> None:
    before = index.put_state("before", {"n": 1}, None)
    with index.rebuild() as new:
        assert new.get_state("before") == before
        during = index.put_state("during", {"n": 2}, None)
    assert index.get_state("before") == before
    assert index.get_state("during") == during
    index.put_state("before", {"n": 3}, before.version)


def test_a_scroll_begun_before_the_swap_ends_well(index: Index) -> None:
    index.upsert([d.instance(f"1.{number}") for number in range(10)])
    index.refresh()
    scroll = index.scroll(Query(Level.STUDY), page=2)
    next(scroll)
    with index.rebuild() as new:
        new.upsert([d.instance("2.1")])
    assert len(list(scroll)) == 9
    index.refresh()
    assert index.count(Query(Level.STUDY)) == 1


def test_threads_write_through_a_rebuild(index: Index) -> None:
    stop = threading.Event()
    written: list[list[str]] = [[], []]
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            while not stop.is_set():
                one = d.instance(f"1.{number}", sop=str(len(written[number])))
                index.upsert([one])
                written[number].append(one.uids.sop)
                time.sleep(0.01)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    with index.rebuild() as new:
        # As a rebuild from the object store does: list what is there after it began, and index that.
        index.refresh()
        for hit in list(index.scroll(Query(Level.INSTANCE))):
            assert hit.location is not None
            uids = hit.location.uids
            new.upsert([d.instance(uids.study, "1", uids.sop.rsplit(".", 1)[1])])
        time.sleep(0.2)
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert sops(index) == set(written[0]) | set(written[1])


def _upsert_until_told(spec: IndexSpec, pipe: Connection) -> None:
    index = open_index(spec)
    number = 0
    pipe.send("ready")
    while not pipe.poll(0.01):
        index.upsert([d.instance("1.7", sop=str(number))])
        number += 1
    pipe.send(number)
    index.close()


def test_another_process_writes_through_a_rebuild(index_spec: IndexSpec, index: Index) -> None:
    index.check()
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_upsert_until_told, args=(index_spec, there))
    process.start()
    assert here.poll(60)
    assert here.recv() == "ready"
    time.sleep(0.2)
    with index.rebuild() as new:
        index.refresh()
        for hit in list(index.scroll(Query(Level.INSTANCE))):
            assert hit.location is not None
            new.upsert([d.instance("1.7", sop=hit.location.uids.sop.rsplit(".", 1)[1])])
        time.sleep(0.2)
    time.sleep(0.2)
    here.send("stop")
    assert here.poll(60)
    number = here.recv()
    process.join(60)
    assert number > 3
    assert sops(index) == {f"1.7.1.{sop}" for sop in range(number)}


def _rebuild_and_hang(spec: IndexSpec, pipe: Connection) -> None:
    index = open_index(spec)
    with index.rebuild() as new:
        new.upsert([d.instance(sop="8")])
        pipe.send("under way")
        time.sleep(600)


def test_a_rebuild_of_a_process_that_died_is_dropped_by_the_next(index_spec: IndexSpec, index: Index) -> None:
    index.upsert([d.instance(sop="1")])
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_rebuild_and_hang, args=(index_spec, there))
    process.start()
    assert here.poll(60)
    with pytest.raises(ConflictError), index.rebuild():
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    index.upsert([d.instance(sop="2")])
    assert sops(index) == {"1.2.1.1.1", "1.2.1.1.2"}
    deadline = time.monotonic() + 90
    while True:
        # An adapter that knows of a death only by a lease that runs out may need a while.
        try:
            with index.rebuild() as new:
                assert sops(new) == set()
                new.upsert([d.instance(sop="3")])
            break
        except ConflictError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
    assert sops(index) == {"1.2.1.1.3"}
