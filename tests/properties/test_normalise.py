"""Normalisation, folding and terms hold for any data set in the DICOM JSON model, and for JSON that is none."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from vna.normalise import canonical
from vna.normalise.fold import fold, fold_name
from vna.normalise.pipeline import normalise
from vna.normalise.terms import terms, words

_VRS = st.sampled_from(
    [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "SV",
        "TM",
        "UC",
        "UI",
        "UL",
        "UR",
        "US",
        "UT",
        "UV",
        "XX",
    ]
)
_TEXT = st.one_of(
    st.text(max_size=40),
    st.text("0123456789.:-+,^= \0\\T_eEan", max_size=24),
    st.sampled_from(("2024.01.02", "12:30", "20240101120000+0100", "Doe, Jane", "Doe^^^", "nan", "1e400", "٣")),
)
_NAMES = st.dictionaries(st.sampled_from(("Alphabetic", "Ideographic", "Phonetic")), _TEXT, max_size=3)
_VALUES = st.one_of(_TEXT, st.none(), st.integers(-(2**63), 2**64 - 1), st.floats(), _NAMES, st.booleans())
_TAGS = st.one_of(
    st.sampled_from(("00100010", "0020000D", "00080020", "00290010", "00291001", "00080060")),
    st.integers(0, 0xFFFFFFFF).map(lambda tag: f"{tag:08X}"),
)
_ELEMENT = st.fixed_dictionaries({"vr": _VRS}, optional={"Value": st.lists(_VALUES, max_size=4)})
_DATASET = st.recursive(
    st.dictionaries(_TAGS, _ELEMENT, max_size=5),
    lambda inner: st.dictionaries(
        _TAGS,
        st.one_of(_ELEMENT, st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, max_size=3)})),
        max_size=4,
    ),
    max_leaves=6,
)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXT, st.just("SQ"), st.just("PN"), st.just("DA")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(("vr", "Value", "Alphabetic")), _TAGS), inner, max_size=4),
    ),
    max_leaves=12,
)


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@settings(max_examples=150, deadline=None)
@given(_DATASET)
def test_normalising_twice_changes_nothing_and_the_original_stays(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    once = normalise(data)
    assert repr(data) == repr(before)
    twice = normalise(once.attributes)
    assert twice.changes == ()
    assert twice.attributes is once.attributes
    if not once.changes:
        assert once.attributes is data
    _dump(once.attributes)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(_TAGS, _JSON, max_size=5))
def test_no_json_makes_normalisation_or_terms_raise(data: dict[str, Any]) -> None:
    view = normalise(data).attributes
    assert normalise(view).changes == ()
    terms(view)
    words(view)


@settings(max_examples=100, deadline=None)
@given(_DATASET)
def test_terms_are_texts_short_enough_and_distinct(data: dict[str, Any]) -> None:
    for path, values in terms(normalise(data).attributes).items():
        assert path.count(".") <= 3 or "@" in path
        assert values
        assert len(set(values)) == len(values)
        assert all(isinstance(value, str) and 0 < len(value) <= 512 for value in values)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60))
def test_folding_is_idempotent_and_blind_to_case(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert fold(text.casefold()) == folded
    name = fold_name(text)
    assert fold_name(name) == name
    assert not name.endswith("^")


@settings(max_examples=200, deadline=None)
@given(st.datetimes())
def test_canonical_texts_sort_as_the_time_does(moment: Any) -> None:
    date, time = moment.strftime("%Y%m%d").zfill(8), moment.strftime("%H%M%S.%f")
    assert canonical.date(date) == date
    for length in (2, 4, 6, 8, 13):
        low, high = canonical.time(time[:length].rstrip(".")), canonical.time(time[:length].rstrip("."), fill="high")
        assert low <= time <= high
        assert canonical.time(low) == low
    for length in (4, 6, 8, 10, 12, 14, 21):
        whole = date + time
        low, high = canonical.datetime(whole[:length]), canonical.datetime(whole[:length], fill="high")
        assert low <= whole <= high
        assert canonical.datetime(low) == low


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_the_canonical_text_of_a_number_means_the_same_number(value: float) -> None:
    text = canonical.number(value)
    assert float(text) == float(value)
    assert canonical.number(text) == text
