"""One matching key at a time: what it becomes, and what is refused (PS3.4 C.2.2.2)."""

from __future__ import annotations

import pytest

from vna.domain.errors import InvalidQueryError
from vna.domain.query import AnyOf, Criterion, DateTimeRange, Range, Wildcard
from vna.search.matching import combine_datetime, criteria_for, describe

NAME = "00100010"
DATE = "00080020"
TIME = "00080030"
STAMP = "0008002A"
UID = "0020000D"


def one(path: str, vr: str, value: str) -> Criterion:
    (found,) = criteria_for(path, vr, value)
    return found


@pytest.mark.parametrize("vr", ["PN", "DA", "TM", "DT", "UI", "LO", "CS", "IS", "DS", "US", "AS", "UN", "OB"])
@pytest.mark.parametrize("value", ["", " ", "*", "**", "\0", " * "])
def test_universal_matching_is_no_criterion(vr: str, value: str) -> None:
    assert criteria_for(NAME, vr, value) == ()


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("LO", "A-17", "A-17"),
        ("LO", "  A 17 ", "A 17"),
        ("CS", "CT", "CT"),
        ("CS", "ct", "CT"),
        ("AE", "Ct1", "Ct1"),
        ("UI", "1.2.840\0", "1.2.840"),
        ("UI", "1.2.03", "1.2.03"),
        ("IS", "007", "7"),
        ("IS", "+5", "5"),
        ("IS", "-0", "0"),
        ("DS", "1.50", "1.5"),
        ("DS", "1e2", "100"),
        ("US", "512", "512"),
        ("AS", "018M", "018M"),
        ("AT", "7fe00010", "7FE00010"),
        ("DA", "20260228", "20260228"),
        ("DA", "2026.02.28", "20260228"),
        ("TM", "101530.123456", "101530.123456"),
        ("DT", "20260228101530.123456", "20260228101530.123456"),
        ("LT", "a\\b", "a\\b"),
        ("PN", "Müller ^ Anna ^^", "muller^anna"),
        ("PN", "Doe, Jane", "doe^jane"),
        ("PN", "Yamada^Tarou", "yamada^tarou"),
    ],
)
def test_single_value_matching(vr: str, value: str, expected: str) -> None:
    assert one(NAME, vr, value) == AnyOf(NAME, (expected,))


def test_list_of_uid_matching() -> None:
    assert one(UID, "UI", "1.2\\1.3 \\\\1.2") == AnyOf(UID, ("1.2", "1.3"))


def test_several_values_of_other_vrs() -> None:
    assert one("00080061", "CS", "CT\\MR") == AnyOf("00080061", ("CT", "MR"))
    assert one(DATE, "DA", "20260101\\20260102") == AnyOf(DATE, ("20260101", "20260102"))
    assert one(NAME, "PN", "Doe^Jane\\Roe^Max") == AnyOf(NAME, ("doe^jane", "roe^max"))


def test_empty_value_matching() -> None:
    assert one("00080050", "SH", '""') == AnyOf("00080050", ("",))
    assert one(DATE, "DA", '""') == AnyOf(DATE, ("",))
    assert one("00080060", "CS", 'CT\\""') == AnyOf("00080060", ("CT", ""))


@pytest.mark.parametrize("vr", ["AE", "LO", "LT", "SH", "ST", "UC", "UR", "UT"])
def test_wild_card_matching(vr: str) -> None:
    assert one("00081030", vr, "Abd*m?n") == Wildcard("00081030", "Abd*m?n")


def test_a_code_string_is_matched_in_capitals() -> None:
    assert one("00180015", "CS", "abd*") == Wildcard("00180015", "ABD*")


def test_wild_cards_in_names_are_folded_by_component_group() -> None:
    assert one(NAME, "PN", "DOÉ^J*") == Wildcard(NAME, "doe^j*")
    assert criteria_for(NAME, "PN", "Yamada*=山田^太郎") == (
        Wildcard(NAME, "yamada*"),
        AnyOf(NAME, ("山田^太郎",)),
    )
    assert one(NAME, "PN", "=山田*") == Wildcard(NAME, "山田*")


@pytest.mark.parametrize("value", ["*^*", "^", "=", "*=*", "*^*^*"])
def test_a_name_of_wild_cards_alone_is_universal(value: str) -> None:
    assert criteria_for(NAME, "PN", value) == ()


@pytest.mark.parametrize(
    ("path", "vr", "value", "low", "high"),
    [
        (DATE, "DA", "20260101-20260131", "20260101", "20260131"),
        (DATE, "DA", "20260101-", "20260101", None),
        (DATE, "DA", "-20260131", None, "20260131"),
        (DATE, "DA", "20260101 - 20260131", "20260101", "20260131"),
        (TIME, "TM", "1200-1230", "120000.000000", "123059.999999"),
        (TIME, "TM", "12-", "120000.000000", None),
        (TIME, "TM", "-101530", None, "101530.999999"),
        (STAMP, "DT", "2026-2027", "20260101000000.000000", "20271231235959.999999"),
        (STAMP, "DT", "202402-", "20240201000000.000000", None),
        (STAMP, "DT", "-202402", None, "20240229235959.999999"),
        (STAMP, "DT", "202402", "20240201000000.000000", "20240229235959.999999"),
        (STAMP, "DT", "20260101-0500-20260102-0500", "20260101000000.000000", "20260102235959.999999"),
        (STAMP, "DT", "20260101+0100-", "20260101000000.000000", None),
        (STAMP, "DT", "20260101-0500", "20260101000000.000000", "20260101235959.999999"),
    ],
)
def test_range_matching_is_inclusive(path: str, vr: str, value: str, low: str | None, high: str | None) -> None:
    assert one(path, vr, value) == Range(path, low, high)


@pytest.mark.parametrize(
    ("value", "pattern"),
    [("12", "12*"), ("1230", "1230*"), ("12:30", "1230*"), ("123015", "123015.*"), ("123015.5", "123015.5*")],
)
def test_a_time_of_less_precision_covers_all_that_begin_with_it(value: str, pattern: str) -> None:
    assert one(TIME, "TM", value) == Wildcard(TIME, pattern)


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DA", "2026"),
        ("DA", "20260230"),
        ("DA", "2026*"),
        ("DA", "-"),
        ("DA", "20260101-20260102-20260103"),
        ("DA", "20260101-\\20260102"),
        ("DA", "yesterday"),
        ("TM", "25"),
        ("TM", "1260"),
        ("TM", "12*"),
        ("TM", "12\\13"),
        ("DT", "202613"),
        ("UI", "1.2.*"),
        ("UI", "1" * 65),
        ("UI", "1.2/../3"),
        ("IS", "x"),
        ("IS", "1*"),
        ("DS", "nan"),
        ("AS", "18"),
        ("AT", "PatientName"),
        ("OB", "x"),
        ("SQ", "x"),
        ("LO", "A*\\B"),
        ("PN", "A*\\B"),
    ],
)
def test_what_cannot_be_matched_is_refused_by_name(vr: str, value: str) -> None:
    with pytest.raises(InvalidQueryError, match=r"StudyDescription: ") as raised:
        criteria_for("00081030", vr, value)
    assert raised.value.attribute == "00081030"


def test_refusals_name_paths_through_sequences() -> None:
    assert describe("00400275.00400009") == "RequestAttributesSequence.ScheduledProcedureStepID"
    assert describe("0009xx01@SIEMENS") == "0009xx01@SIEMENS"


def test_combined_date_and_time() -> None:
    criteria = (*criteria_for(DATE, "DA", "20260101-20260102"), *criteria_for(TIME, "TM", "1200-1230"))
    assert combine_datetime(criteria) == (DateTimeRange(DATE, TIME, "20260101120000.000000", "20260102123059.999999"),)


def test_combined_matching_fills_open_ends() -> None:
    criteria = (*criteria_for(DATE, "DA", "20260101-20260102"), *criteria_for(TIME, "TM", "1200-"))
    assert combine_datetime(criteria) == (DateTimeRange(DATE, TIME, "20260101120000.000000", "20260102235959.999999"),)
    criteria = (*criteria_for(DATE, "DA", "20260101-"), *criteria_for(TIME, "TM", "1200-1300"))
    assert combine_datetime(criteria) == (DateTimeRange(DATE, TIME, "20260101120000.000000", None),)


@pytest.mark.parametrize(("date", "time"), [("20260101", "1200-1230"), ("20260101-20260102", "12"), ("20260101-", "")])
def test_single_values_are_not_combined(date: str, time: str) -> None:
    criteria = (*criteria_for(DATE, "DA", date), *criteria_for(TIME, "TM", time))
    assert combine_datetime(criteria) == criteria


def test_only_pairs_are_combined() -> None:
    criteria = (*criteria_for(DATE, "DA", "20260101-"), *criteria_for("00080031", "TM", "1200-"))
    assert combine_datetime(criteria) == criteria
