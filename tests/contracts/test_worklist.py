"""The worklist on every object store: one wins, nothing is lost, and who comes later sees all of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom.uid import generate_uid

from tests.support.workitems import data_set, work_item
from vna.index.resemble import expressions
from vna.ports.objects import ObjectStore
from vna.workitems.record import WorkItem
from vna.workitems.refusals import RefusedError
from vna.workitems.subscribers import Subscriber
from vna.workitems.worklist import Worklist

_GIVEN = work_item().to_json_dict()


def _state(state: str, lock: str) -> dict[str, object]:
    return data_set(ProcedureStepState=state, TransactionUID=lock).to_json_dict()


def test_two_processes_on_one_store(objects: ObjectStore) -> None:
    one, other = Worklist(objects, expressions), Worklist(objects, expressions)
    seen: list[WorkItem | Subscriber] = []
    changes = other.changes(seen.append, lambda: None)
    changes.sync()
    one.subscribe_all("BOARD", "test", lock=False)
    uids = [str(generate_uid()) for _ in range(4)]
    for uid in uids:
        one.create(_GIVEN, uid, "test")
    assert other.search((), 0, 100)[1] == len(uids)

    def claim(number: int) -> bool:
        worklist, uid = (one, other)[number % 2], uids[number // 4]
        try:
            worklist.change_state(uid, _state("IN PROGRESS", f"1.2.{number}"), "test")
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(4 * len(uids))))
    assert [sum(won[4 * place : 4 * place + 4]) for place in range(len(uids))] == [1] * len(uids)
    for place, uid in enumerate(uids):
        winner = won.index(True, 4 * place)
        assert one.get(uid).transaction == other.get(uid).transaction == f"1.2.{winner}"
    changes.sync()
    items = [each for each in seen if isinstance(each, WorkItem)]
    told = [
        (each.uid, event.info["00741000"]["Value"][0]) for each in items for event in each.events if event.type == 1
    ]
    assert sorted(told) == sorted((uid, state) for uid in uids for state in ("SCHEDULED", "IN PROGRESS"))
    assert all(event.to == ("BOARD",) for each in items for event in each.events)
    late = Worklist(objects, expressions)
    assert [each["00741000"]["Value"] for each in late.search((), 0, 100)[0]] == [["IN PROGRESS"]] * len(uids)
    with pytest.raises(RefusedError, match="already"):
        late.create(_GIVEN, uids[0], "test")
