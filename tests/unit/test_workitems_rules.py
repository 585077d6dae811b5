"""The rules of the worklist without a store: matching, subscriptions to all, and what a data set may have."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.workitems import code, data_set, work_item
from vna.config import Settings, WorklistSettings
from vna.dicom.from_json import data_set_of
from vna.domain.errors import ArchiveError, InvalidInputError, InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Range, Resembles, Wildcard, Words
from vna.index.resemble import expressions
from vna.workitems import record, tags, writing
from vna.workitems.dataset import accept
from vna.workitems.matching import Matching, criteria_from_json, criteria_to_json, terms_at, terms_of
from vna.workitems.record import WorkItem
from vna.workitems.subscribers import GlobalAction, Subscriber, effective, newly_matched
from workers.beat import schedule

GIVEN = work_item().to_json_dict()
_PLAIN = accept({tag: field for tag, field in GIVEN.items() if tag != tags.TRANSACTION})[0]


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


def test_sequences_are_entered_to_any_depth() -> None:
    deep = code("m", "deep")
    for _ in range(6):
        deep = data_set(ContentItemModifierSequence=[deep, code("n", "other")])
    path = ".".join(["00741210", *["00400441"] * 6, "00080100"])
    attributes = data_set(ScheduledProcessingParametersSequence=[deep]).to_json_dict()
    assert terms_at(attributes, path) == ("m", "n")
    assert Matching(expressions).matches((AnyOf(path, ("m",)),), attributes)
    assert not Matching(expressions).matches((AnyOf(path, ("x",)),), attributes)


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


def created(**changes: Any) -> WorkItem:
    return writing.created(work_item(**changes).to_json_dict(), "1.2.3")[0]


def test_content_items_have_the_value_of_their_type() -> None:
    name = data_set(ValueType="NUMERIC", ConceptNameCodeSequence=[code("121401", "Derivation")], NumericValue="1")
    with pytest.raises(InvalidInputError, match="MeasurementUnitsCodeSequence"):
        created(ScheduledProcessingParametersSequence=[name])
    name.MeasurementUnitsCodeSequence = [code("mm", "millimeter", "UCUM")]
    created(ScheduledProcessingParametersSequence=[name])
    name.ValueType = "GUESS"
    with pytest.raises(InvalidInputError, match="GUESS"):
        created(ScheduledProcessingParametersSequence=[name])
