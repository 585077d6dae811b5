"""What every index does when many threads and processes write at once."""

from __future__ import annotations

import multiprocessing
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier

from tests.contracts import index_data as d
from tests.contracts.index_adapters import IndexSpec, open_index
from vna.domain.errors import ConflictError
from vna.domain.query import Level, Query
from vna.domain.records import IndexedInstance
from vna.ports.index import Index, IndexCounts, Outcome

SPAWN = multiprocessing.get_context("spawn")
INSTANCES = 48


def first_instances() -> list[IndexedInstance]:
    """Return a patient's first instances: one study, three series, every third with two contents."""
    return [
        d.instance(
            "1.1",
            str(number % 3),
            str(number),
            content=content,
            received=number % 7 + (3 if content == "b" else 0),
            size=100,
            sop_class=d.MR if number % 3 == 2 else d.CT,
            terms={d.MODALITY: "MR" if number % 3 == 2 else "CT", d.STUDY_DESCRIPTION: f"text {number % 5}"},
        )
        for number in range(INSTANCES)
        for content in (("a", "b") if number % 3 == 0 else ("a",))
    ]


def snapshot(index: Index) -> list[object]:
    index.refresh()
    seen: list[object] = [index.counts()]
    for level in Level:
        seen += [(hit.id, hit.attributes, hit.location) for hit in index.query(Query(level))]
    return seen


def check_counts(index: Index) -> None:
    index.refresh()
    assert index.counts() == IndexCounts(patients=1, studies=1, series=3, instances=INSTANCES, bytes=100 * INSTANCES)
    (study,) = index.query(Query(Level.STUDY))
    assert study.attributes[d.STUDY_INSTANCES]["Value"] == [INSTANCES]
    assert study.attributes[d.STUDY_SERIES]["Value"] == [3]
    assert study.attributes[d.MODALITIES_IN_STUDY]["Value"] == ["CT", "MR"]


def test_threads_racing_on_a_patients_first_instances_make_one_study(index: Index) -> None:
    barrier = threading.Barrier(4)

    def write(seed: int) -> list[Outcome]:
        mine = first_instances()
        random.Random(seed).shuffle(mine)
        barrier.wait(30)
        return [found.outcome for start in range(0, len(mine), 8) for found in index.upsert(mine[start : start + 8])]

    with ThreadPoolExecutor(4) as pool:
        outcomes = [outcome for found in pool.map(write, range(4)) for outcome in found]
    check_counts(index)
    assert outcomes.count(Outcome.CREATED) == INSTANCES
    assert outcomes.count(Outcome.CONFLICT) == INSTANCES // 3
    raced = snapshot(index)
    index.remove([one.uids.instance_id for one in first_instances()])
    index.refresh()
    index.upsert(first_instances())
    assert snapshot(index) == raced


def _write_in_a_process(spec: IndexSpec, barrier: Barrier, seed: int) -> None:
    index = open_index(spec)
    mine = first_instances()
    random.Random(seed).shuffle(mine)
    barrier.wait(60)
    for start in range(0, len(mine), 8):
        index.upsert(mine[start : start + 8])
    index.close()


def test_processes_racing_on_a_patients_first_instances_make_one_study(index_spec: IndexSpec, index: Index) -> None:
    barrier = SPAWN.Barrier(3)
    processes = [SPAWN.Process(target=_write_in_a_process, args=(index_spec, barrier, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    check_counts(index)
    raced = snapshot(index)
    index.remove([one.uids.instance_id for one in first_instances()])
    index.refresh()
    index.upsert(first_instances())
    assert snapshot(index) == raced


def test_upserts_and_removals_at_once_leave_nothing_half(index: Index) -> None:
    kept = [d.instance("1.1", "1", str(number)) for number in range(20)]
    gone = [d.instance("1.1", "2", str(number)) for number in range(20)]
    index.upsert(gone)
    index.refresh()

    def remove() -> None:
        for one in gone:
            index.remove([one.uids.instance_id])

    def write() -> None:
        for start in range(0, len(kept), 4):
            index.upsert(kept[start : start + 4])

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(remove), pool.submit(write)]:
            future.result(60)
    index.refresh()
    assert index.counts() == IndexCounts(patients=1, studies=1, series=1, instances=20, bytes=20_000)
    (study,) = index.query(Query(Level.STUDY))
    assert study.attributes[d.STUDY_INSTANCES]["Value"] == [20]


def test_readers_see_whole_batches_of_studies_while_writing(index: Index) -> None:
    stop = threading.Event()

    def read() -> int:
        seen = 0
        while not stop.is_set():
            for hit in index.query(Query(Level.STUDY, limit=50)):
                assert hit.attributes[d.STUDY_SERIES]["Value"] == [1]
                seen += 1
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for number in range(20):
            index.upsert([d.instance(f"1.{number}", "1", str(sop)) for sop in range(5)])
            index.refresh()
        stop.set()
        for reader in readers:
            reader.result(60)
    assert index.counts().studies == 20


def _count_up(spec: IndexSpec, barrier: Barrier) -> None:
    index = open_index(spec)
    barrier.wait(60)
    for _ in range(20):
        while True:
            state = index.get_state("counter")
            value: dict[str, object] = {"n": 1 if state is None else state.value["n"] + 1}
            try:
                index.put_state("counter", value, None if state is None else state.version)
            except ConflictError:
                continue
            break
    index.close()


def test_state_is_compared_and_set_across_processes(index_spec: IndexSpec, index: Index) -> None:
    barrier = SPAWN.Barrier(3)
    processes = [SPAWN.Process(target=_count_up, args=(index_spec, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    state = index.get_state("counter")
    assert state is not None
    assert state.value == {"n": 60}
