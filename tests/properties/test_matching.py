"""Whatever a client sends as a matching key is understood or refused, and a value matches itself."""

from __future__ import annotations

import datetime as dt
import re

from hypothesis import given
from hypothesis import strategies as st

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, Range, Wildcard
from vna.normalise import canonical
from vna.normalise.fold import fold_name
from vna.normalise.pipeline import normalise
from vna.normalise.terms import terms
from vna.search.matching import WILDCARD_VRS, combine_datetime, criteria_for

VRS = sorted(WILDCARD_VRS | {"AS", "AT", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SQ", "TM", "UI", "UL", "UN", "US"})
PATH = "00100010"
LETTERS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='\\*?"'), min_size=1, max_size=32)
TIMES = st.times()


def holds(criterion: Criterion, values: tuple[str, ...]) -> bool:
    """Say what an index must answer for an attribute with these terms."""
    if isinstance(criterion, AnyOf):
        return any(value in values for value in criterion.values) or ("" in criterion.values and not values)
    if isinstance(criterion, Wildcard):
        pattern = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in criterion.pattern)
        return any(re.fullmatch(pattern, value, re.DOTALL) for value in values)
    assert isinstance(criterion, Range)
    return any(
        (criterion.low or "") <= value and (criterion.high is None or value <= criterion.high) for value in values
    )


@given(st.sampled_from(VRS), st.text(max_size=40))
def test_any_text_is_understood_or_refused(vr: str, value: str) -> None:
    try:
        found = criteria_for(PATH, vr, value)
    except InvalidQueryError as error:
        refused = error
    else:
        refused = InvalidQueryError("", attribute=PATH)
        check(found)
    assert refused.attribute == PATH


def check(found: tuple[Criterion, ...]) -> None:
    assert combine_datetime(found) == found
    for criterion in found:
        assert isinstance(criterion, AnyOf | Wildcard | Range)
        assert criterion.path == PATH


@given(st.sampled_from(["LO", "SH", "CS", "LT", "UC"]), LETTERS)
def test_a_text_matches_itself(vr: str, value: str) -> None:
    known = terms(normalise({PATH: {"vr": vr, "Value": [value]}}).attributes).get(PATH, ())
    found = criteria_for(PATH, vr, value)
    assert all(holds(criterion, known) for criterion in found)
    assert bool(found) == bool(known)


@given(LETTERS, LETTERS)
def test_a_name_matches_itself_whatever_its_case(family: str, given_name: str) -> None:
    name = f"{family}^{given_name}".replace("=", "")
    known = terms({PATH: {"vr": "PN", "Value": [{"Alphabetic": name}]}}).get(PATH, ())
    # "Doe^*" asks for a second component, so it is no query that finds "Doe": the end is cut as the index cuts it.
    for query in (name, name + "^", fold_name(name) + "*"):
        assert all(holds(criterion, known) for criterion in criteria_for(PATH, "PN", query))


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", " {}", "{} "]))
def test_an_integer_matches_itself(number: int, layout: str) -> None:
    known = terms({PATH: {"vr": "IS", "Value": [number]}})[PATH]
    assert all(holds(criterion, known) for criterion in criteria_for(PATH, "IS", layout.format(number)))


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_decimal_matches_itself(number: float) -> None:
    known = terms({PATH: {"vr": "DS", "Value": [number]}})[PATH]
    assert all(holds(criterion, known) for criterion in criteria_for(PATH, "DS", str(number)))


@given(TIMES, st.sampled_from([2, 4, 6, 8, 13]), st.sampled_from([2, 4, 6, 8, 13]))
def test_a_time_matches_itself_at_any_precision(moment: dt.time, stored: int, asked: int) -> None:
    text = moment.strftime("%H%M%S.%f")
    known = (canonical.time(text[:stored]),)
    if asked <= stored:
        assert all(holds(criterion, known) for criterion in criteria_for(PATH, "TM", text[:asked]))
        for query in (f"{text[:asked]}-{text[:asked]}", f"-{text[:asked]}", f"{text[:asked]}-"):
            assert all(holds(criterion, known) for criterion in criteria_for(PATH, "TM", query))


@given(st.dates(), st.dates(), st.dates())
def test_a_range_of_dates_holds_exactly_what_lies_in_it(low: dt.date, high: dt.date, day: dt.date) -> None:
    def text(date: dt.date) -> str:
        return f"{date.year:04d}{date.month:02d}{date.day:02d}"

    (criterion,) = criteria_for(PATH, "DA", f"{text(low)}-{text(high)}")
    assert holds(criterion, (text(day),)) == (low <= day <= high)


@given(
    st.datetimes().filter(lambda moment: moment.year >= 1500),  # an earlier one looks like an offset from UTC
    st.sampled_from([4, 6, 8, 10, 12, 14, 21]),
    st.sampled_from(["", "+0100", "-0500"]),
)
def test_a_date_time_matches_itself_at_any_precision(moment: dt.datetime, asked: int, offset: str) -> None:
    text = f"{moment.year:04d}" + moment.strftime("%m%d%H%M%S.%f")
    known = terms({PATH: {"vr": "DT", "Value": [text + offset]}})[PATH]
    part = text[:asked] + offset
    for query in (part, f"{part}-{part}", f"-{part}", f"{part}-"):
        assert all(holds(criterion, known) for criterion in criteria_for(PATH, "DT", query))
