"""Storage commitment on every object store and index: one has a transaction in hand, and what is stored is found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from tests.contracts.index_data import instance
from vna.commitment.decision import Held, Result
from vna.commitment.lookup import Lookup
from vna.commitment.records import Records
from vna.commitment.request import Reference, Request
from vna.commitment.state import DELIVERED, State
from vna.commitment.waiting import SpoolNotes
from vna.domain.errors import ConflictError
from vna.domain.origin import now_us
from vna.ports.index import Index
from vna.ports.objects import ObjectInfo, ObjectStore
from vna.store.folder import FolderStore

CT = "1.2.840.10008.5.1.4.1.1.2"


def _request(transaction: str, *uids: str) -> Request:
    return Request("CT01", "", transaction, tuple(Reference(CT, uid) for uid in uids or ("1.2",)), now_us(), "main")


def test_one_of_many_has_it_in_hand(objects: ObjectStore) -> None:
    processes = [Records(objects) for _ in range(8)]
    _asked, state = processes[0].create(_request("1.2.3"), 0)
    assert state is not None

    def claim(records: Records) -> State | None:
        (found,) = records.open()
        try:
            return records.change(found, found.leased(now_us()))
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [found for found in pool.map(claim, processes) if found is not None]
    # Who came later saw that it is taken, and renewed it: revisions are one chain.
    assert sorted(found.revision for found in won) == list(range(2, 2 + len(won)))
    last = max(won, key=lambda found: found.revision)
    told = processes[0].change(last, last.decided(now_us(), Result({})), Result({}))
    final = processes[0].change(told, told.end(DELIVERED))
    processes[0].clear_up(final)
    assert list(processes[1].open()) == []
    assert list(processes[1].ended()) == [final]
    assert [info.key for info in objects.list("commitments/open/")] == []


def test_many_ask_the_same_at_once(objects: ObjectStore) -> None:
    request = _request("1.2.4", *(f"1.2.{number}" for number in range(1000)))
    with ThreadPoolExecutor(8) as pool:
        states = [state for _request_of, state in pool.map(lambda _: Records(objects).create(request, 60), range(8))]
    assert sum(state is not None for state in states) == 1
    (state,) = Records(objects).open()
    assert Records(objects).request(state) == request


def test_notes_of_several_spools(objects: ObjectStore) -> None:
    notes = SpoolNotes(objects)
    notes.write("a", lambda: None, wanted=True)
    notes.write("b", lambda: 12.5, wanted=True)
    notes.write("a", lambda: 3.0, wanted=True)
    assert {note.spool: note.oldest_us for note in SpoolNotes(objects).read()} == {"a": 3_000_000, "b": 12_500_000}


class _Heads(FolderStore):
    """A store that has some objects, of a length."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes

    def head(self, key: str) -> ObjectInfo | None:
        return ObjectInfo(key, self._sizes[key], datetime.now(UTC)) if key in self._sizes else None


def test_many_are_looked_up_at_once(index: Index) -> None:
    stored = [instance(sop=f"7.{number}") for number in range(1, 4)]
    index.upsert(stored)
    first, second, third = stored
    lookup = Lookup(index, _Heads({first.key: first.size, second.key: second.size + 1}))
    lookup.refresh()
    steps: list[int] = []
    wanted = [*(each.uids.sop for each in stored), *(f"9.9.{number}" for number in range(1200))]
    found = lookup.find(wanted, lambda: steps.append(1))
    held = {uid: [fact.held for fact in facts] for uid, facts in found.items()}
    assert held == {
        first.uids.sop: [Held.WHOLE],
        second.uids.sop: [Held.DAMAGED],
        third.uids.sop: [Held.GONE],
    }
    assert found[first.uids.sop][0].sop_class == first.sop_class
    assert len(steps) == 3
