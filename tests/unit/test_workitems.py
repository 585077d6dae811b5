"""The parts of the worklist: the feed, what follows it, matching, subscriptions, and how a slow client ends."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from tests.support.workitems import code, data_set, work_item
from vna.config import Settings, WorklistSettings
from vna.dicom.from_json import data_set_of
from vna.domain.errors import ArchiveError, InvalidInputError, InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Range, Resembles, Wildcard, Words
from vna.gateways.dicomweb.metrics import Metrics
from vna.gateways.dicomweb.ups_outbox import MOST_WAITING, Outbox
from vna.index.resemble import expressions
from vna.search.matching import criteria_for
from vna.store.folder import FolderStore
from vna.workitems import follow, record, tags, writing
from vna.workitems.chain import ITEMS, Chains
from vna.workitems.dataset import accept
from vna.workitems.feed import Entry, Feed
from vna.workitems.matching import Matching, criteria_from_json, criteria_to_json, terms_of
from vna.workitems.record import Event, WorkItem
from vna.workitems.subscribers import GlobalAction, Subscriber, effective, newly_matched
from vna.workitems.worklist import Worklist
from workers.beat import schedule

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


@pytest.mark.parametrize(
    ("criterion", "matches"),
    [
        (AnyOf("00100020", ("4711", "x")), True),
        (AnyOf("00100020", ("471",)), False),
        (AnyOf("00380010", ("",)), True),
        (AnyOf("00100020", ("",)), False),
        (Wildcard("00100010", "doe*"), True),
        (Wildcard("00100010", "d?e^*ne"), True),
        (Wildcard("00100010", "*e*j*n*"), True),
        (Wildcard("00100010", "*z*"), False),
        (Wildcard("00741204", "Find [n]*"), False),
        (Range(tags.START, "20260101080000.000000", None), True),
        (Range(tags.START, None, "20251231235959.999999"), False),
        (DateTimeRange("00100030", "00100032", "19000101000000.000000", None), False),
        (Resembles("00100010", "jone"), True),
        (Resembles("00100010", "smith"), False),
        (AnyOf("00404018.00080100", ("110004",)), True),
    ],
)
def test_matching_is_that_of_the_index(criterion: Criterion, matches: bool) -> None:
    assert Matching(expressions).matches((criterion,), _PLAIN) is matches
    assert criteria_from_json(orjson.loads(orjson.dumps(criteria_to_json((criterion,))))) == (criterion,)


def test_no_pattern_takes_long() -> None:
    attributes = {"00741204": tags.element("LO", "a" * 500)}
    begin = time.perf_counter()
    assert not Matching(expressions).matches((Wildcard("00741204", "*a" * 400 + "b"),), attributes)
    assert time.perf_counter() - begin < 1
    assert Matching(expressions).matches((Wildcard("00741204", "*a" * 400 + "*"),), attributes)
    with pytest.raises(InvalidQueryError, match="Words"):
        Matching(expressions).test((Words(("a",)),))


def test_terms_have_names_folded_and_times_in_full() -> None:
    found_terms = terms_of(_PLAIN)
    assert found_terms["00100010"] == ("doe^jane",)
    assert found_terms[tags.START] == ("20260101080000.000000",)


def sub(*actions: GlobalAction) -> Subscriber:
    subscriber = Subscriber("A")
    for action in actions:
        subscriber = Subscriber("A", subscriber.revision + 1, action.clock, subscriber.after(action))
    return subscriber


ON = GlobalAction(5, "subscribe")
LOCKED = GlobalAction(6, "subscribe", lock=True)
OFF = GlobalAction(7, "unsubscribe")
PAUSE = GlobalAction(8, "suspend")
FILTER = GlobalAction(5, "subscribe", criteria=(AnyOf("00100020", ("4711",)),))


@pytest.mark.parametrize(
    ("before", "actions", "after"),
    [
        ({}, (ON,), {"A": False}),
        ({}, (LOCKED,), {"A": True}),
        ({"A": False}, (LOCKED,), {"A": False}),
        ({"A": True}, (ON,), {"A": True}),
        ({"A": None}, (ON,), {"A": False}),
        ({"A": True}, (ON, OFF), {}),
        ({"A": True, "B": False}, (OFF,), {"B": False}),
        ({}, (ON, PAUSE), {"A": False}),
        ({}, (OFF, PAUSE), {}),
        ({}, (GlobalAction(2, "subscribe"),), {}),
        ({}, (FILTER,), {"A": False}),
    ],
)
def test_subscriptions_to_all_are_carried_over(
    before: dict[str, bool | None], actions: tuple[GlobalAction, ...], after: dict[str, bool | None]
) -> None:
    matching = Matching(expressions)
    item = WorkItem("1.2", 1, seen=3, attributes=_PLAIN, subscribers=before)
    assert effective(item, [sub(*actions)], lambda criteria: matching.matches(criteria, _PLAIN)) == after


def test_new_work_items_are_covered_by_what_is_active() -> None:
    item = WorkItem("1.2")
    for subscriber, expected in ((sub(ON), {"A": False}), (sub(ON, OFF), {}), (sub(ON, PAUSE), {}), (sub(), {})):
        assert effective(item, [subscriber], lambda _criteria: True) == expected
    assert effective(item, [sub(FILTER)], lambda _criteria: False) == {}
    assert newly_matched({}, [sub(FILTER)], lambda _criteria: True) == {"A": False}
    assert newly_matched({"A": None}, [sub(FILTER)], lambda _criteria: True) == {"A": None}
    assert newly_matched({}, [sub(ON)], lambda _criteria: True) == {}


def test_the_same_subscription_again_and_again_takes_no_room() -> None:
    many = sub(*(GlobalAction(clock, "subscribe") for clock in range(1, 200)))
    assert [action.clock for action in many.actions] == [1, 199]
    mixed = sub(*(GlobalAction(clock, "subscribe", lock=bool(clock % 2)) for clock in range(1, 200)))
    assert len(mixed.actions) == 64


def test_a_data_set_is_kept_as_its_dictionary_says_or_refused() -> None:
    kept, changed = accept({"00741204": {"vr": "SH", "Value": ["read"]}, "00020010": {"vr": "UI", "Value": ["1.2"]}})
    assert (kept, changed) == ({"00741204": {"vr": "LO", "Value": ["read"]}}, True)
    kept, changed = accept({"00091001": {"vr": "LO", "Value": ["ä"]}, "00090010": {"vr": "LO", "Value": ["ACME"]}})
    assert (kept["00080005"], changed) == ({"vr": "CS", "Value": ["ISO_IR 192"]}, False)
    for wrong in (
        {"00741204": {"vr": "LO", "Value": "read"}},
        {"00741204": {"vr": "LO", "Value": [1]}},
        {"00404018": {"vr": "LO", "Value": ["x"]}},
        {"00741200": {"vr": "CS", "Value": ["high"]}},
        {"00404005": {"vr": "DT", "Value": ["20261301"]}},
        {"0020000D": {"vr": "UI", "Value": ["1..2"]}},
        {"00100030": {"vr": "DA", "Value": ["yesterday"]}},
        {"00404018": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["a", 7]}}]}},
        {"0040A370": {"vr": "SQ", "Value": [{"0020000D": {"vr": "UI", "Value": ["x"]}}]}},
    ):
        with pytest.raises(InvalidInputError) as caught:
            accept(wrong)
        assert "(" in str(caught.value), wrong


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GIVEN, "vr", "Value", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "vr": st.sampled_from(["SQ", "LO", "CS", "PN", "DT", "XX", "", 7]),
        "Value": _VALUES,
        "InlineBinary": _VALUES,
    },
)


@given(st.dictionaries(st.sampled_from([*GIVEN, "00001000", "00090010", "00091001", "7FE00010"]), _FIELDS, max_size=5))
def test_whatever_is_sent_is_kept_or_refused_with_a_reason(changes: dict[str, Any]) -> None:
    with suppress(ArchiveError):
        item, _changed = writing.created(data_set_of(GIVEN | changes), "1.2.3")
        assert record.from_json(record.to_json(item)) == item
    with suppress(ArchiveError):
        writing.updated(WorkItem("1.2.3", attributes=_PLAIN), data_set_of(changes), "")


def test_the_clock_removes_work_items_only_if_told_to() -> None:
    assert "worklist" not in schedule(Settings())
    assert "worklist" in schedule(Settings(worklist=WorklistSettings(keep_days=30)))


def test_content_items_have_the_value_of_their_type(worklist: Worklist) -> None:
    name = data_set(ValueType="NUMERIC", ConceptNameCodeSequence=[code("121401", "Derivation")], NumericValue="1")
    with pytest.raises(InvalidInputError, match="MeasurementUnitsCodeSequence"):
        new(worklist, ScheduledProcessingParametersSequence=[name])
    name.MeasurementUnitsCodeSequence = [code("mm", "millimeter", "UCUM")]
    new(worklist, ScheduledProcessingParametersSequence=[name])
    name.ValueType = "GUESS"
    with pytest.raises(InvalidInputError, match="GUESS"):
        new(worklist, ScheduledProcessingParametersSequence=[name])


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
