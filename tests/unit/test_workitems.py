"""The parts of the worklist: the feed, what follows it, search, and how a slow client ends."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid

from tests.support.workitems import work_item
from vna.domain.query import Criterion
from vna.gateways.dicomweb.metrics import Metrics
from vna.gateways.dicomweb.ups_outbox import MOST_WAITING, Outbox
from vna.index.resemble import expressions
from vna.search.matching import criteria_for
from vna.store.folder import FolderStore
from vna.workitems import follow, record, tags
from vna.workitems.chain import ITEMS, Chains
from vna.workitems.dataset import accept
from vna.workitems.feed import Entry, Feed
from vna.workitems.record import Event, WorkItem
from vna.workitems.worklist import Worklist

GIVEN = work_item().to_json_dict()
DAY = 86_400


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[FolderStore]:
    store = FolderStore(tmp_path / "objects")
    yield store
    store.close()


@pytest.fixture
def worklist(objects: FolderStore) -> Worklist:
    return Worklist(objects, expressions)


def new(worklist: Worklist, **changes: Any) -> str:
    uid = str(generate_uid())
    worklist.create(work_item(**changes).to_json_dict() if changes else GIVEN, uid, "test")
    return uid


def found(worklist: Worklist, **keys: str) -> list[str]:
    criteria = [each for key, value in keys.items() for each in criteria_for(getattr(tags, key), "LO", value)]
    return [item["00080018"]["Value"][0] for item in worklist.search(criteria, 0, 1000)[0]]


def test_numbers_of_the_feed_have_no_gap_whoever_writes(objects: FolderStore) -> None:
    feeds = [Feed(objects) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda place: feeds[place % 4].append(ITEMS, f"{place}", 1, 0), range(64)))
    assert sorted(numbers) == list(range(1, 65))
    assert [entry.number for entry in Feed(objects).after(0)] == list(range(1, 65))
    assert Feed(objects).end() == 64


def test_the_feed_forgets_what_is_a_day_old_and_goes_on(objects: FolderStore) -> None:
    feed = Feed(objects)
    for number in range(1, 99):
        feed.append(ITEMS, "a", number, number - 1)
    for place, info in enumerate(list(objects.list("workitems/feed/"))):
        if place < 90:
            old = time.time() - 2 * DAY
            os.utime(objects.path / info.key, (old, old))
    assert Feed(objects).begin() == 90
    assert [feed.append(ITEMS, "a", 99, 98), feed.append(ITEMS, "a", 100, 98)] == [99, 100]
    assert len(list(objects.list("workitems/feed/"))) == 10
    assert Feed(objects).end() == 100
    assert feed.append(ITEMS, "a", 101, 97) == 101


def test_an_entry_waits_for_its_revision_and_one_of_a_loser_says_nothing(
    objects: FolderStore, worklist: Worklist
) -> None:
    uid = new(worklist)
    told: list[Any] = []
    changes = worklist.changes(told.append, lambda: None)
    changes.sync()
    feed, chains = Feed(objects), Chains(objects)
    item = worklist.get(uid)
    name = record.item_id(uid)
    loser, winner = feed.append(ITEMS, name, 2, 1), feed.append(ITEMS, name, 2, 1)
    changes.sync()
    assert found(worklist, LABEL="changed") == []
    changed = item.attributes | {tags.LABEL: tags.element("LO", "changed")}
    late = WorkItem(uid, 2, winner, attributes=changed, events=(Event(1, ("A",), {}),))
    assert chains.add(ITEMS, name, 2, record.to_json(late))
    assert not chains.add(ITEMS, name, 2, b"{}")
    changes.sync()
    assert [each.clock for each in told] == [winner]
    assert loser < winner
    assert found(worklist, LABEL="changed") == [uid]


def test_who_has_not_followed_for_an_hour_reads_anew(
    objects: FolderStore, worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = new(worklist)
    assert found(worklist) == [uid]
    other = new(Worklist(objects, expressions))
    for info in list(objects.list("workitems/feed/")):
        os.unlink(objects.path / info.key)  # as if it had been so long ago
    assert found(worklist) == [uid]
    monkeypatch.setattr(follow, "_STALE_SECONDS", -1.0)
    assert sorted(found(worklist)) == sorted([uid, other])


def test_a_document_that_cannot_be_read_hides_no_other(objects: FolderStore, worklist: Worklist) -> None:
    uid = new(worklist)
    broken = record.item_id("1.2.3")
    objects.put(f"workitems/items/{broken[:2]}/{broken}/00000001.json", b"{}")
    assert found(worklist) == [uid]


def test_ten_thousand_work_items_are_searched_in_no_time(worklist: Worklist) -> None:
    assert worklist.search((), 0, 1)[1] == 0
    for number in range(10_000):
        item = work_item_of(number)
        # As by following the feed, without ten thousand files.
        worklist._items.take(Entry(number + 1, ITEMS, record.item_id(item.uid), 1), record.to_json(item))
    searches: dict[str, tuple[tuple[Criterion, ...], int]] = {
        "all": ((), 10_000),
        "state": (criteria_for(tags.STATE, "CS", "SCHEDULED"), 10_000),
        "wild card": (criteria_for("00100010", "PN", "Doe^J*7"), 1000),
        "range": (criteria_for(tags.START, "DT", "20260101-20260102"), 2000),
        "rare": (criteria_for("0040A370.00401001", "SH", "R1"), 10_000),
    }
    for name, (criteria, total) in searches.items():
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            page, count = worklist.search(criteria, 0, 100)
            seconds.append(time.perf_counter() - begin)
        assert (len(page), count) == (100, total), name
        assert min(seconds) < 0.3, (name, seconds)


_PLAIN = accept({tag: field for tag, field in GIVEN.items() if tag != tags.TRANSACTION})[0]


def work_item_of(number: int) -> WorkItem:
    uid = f"1.2.3.{number}"
    return WorkItem(
        uid,
        1,
        attributes=_PLAIN
        | {
            tags.SOP_INSTANCE: tags.element("UI", uid),
            tags.PATIENT_ID: tags.element("LO", f"P{number}"),
            "00100010": tags.element("PN", {"Alphabetic": f"Doe^Jane{number}"}),
            tags.START: tags.element("DT", f"202601{1 + number % 10:02d}080000"),
        },
    )


class _Deaf:
    """A WebSocket whose client takes nothing."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send_text(self, text: str) -> None:
        self.sent.append(text)
        await asyncio.sleep(60)


def test_a_client_that_does_not_keep_up_is_ended() -> None:
    async def run() -> Outbox:
        socket = _Deaf()
        outbox = Outbox(socket, Metrics())  # type: ignore[arg-type]  # all of it that is used
        sender = asyncio.create_task(outbox.send())
        await asyncio.sleep(0)
        for _ in range(MOST_WAITING + 2):
            outbox.put("1.2", Event(1, (), {}))
        assert outbox.ended == "slow"
        assert len(socket.sent) <= 1
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        return outbox

    assert asyncio.run(run()).ended == "slow"
