"""What the rules do to values, and what they leave alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vna.normalise.pipeline import RULES, Change, normalise


def _one(vr: str, *values: Any) -> list[Any]:
    return normalise({"00100010": {"vr": vr, "Value": list(values)}}).attributes["00100010"].get("Value", [])


@pytest.mark.parametrize(
    ("vr", "before", "after"),
    [
        ("LO", "  a b \0junk", "a b"),
        ("LO", "a\x1bb", "ab"),
        ("LO", "a\r\nb", "a b"),
        ("LT", " kept\r\nline \0", " kept\r\nline"),
        ("UI", "1.2.3 \0", "1.2.3"),
        ("UI", " 1.2. 3", "1.2.3"),
        ("UI", "1.02.3", "1.02.3"),
        ("DA", "2024.02.29", "20240229"),
        ("DA", "2024-02-29", "20240229"),
        ("TM", "12:34:56.70", "123456.70"),
        ("TM", "1234", "1234"),
        ("DT", "20240203101112.5+0100", "20240203101112.5+0100"),
        ("DT", "2024-02-03T10:11", "202402031011"),
        ("CS", " mr  x ", "MR X"),
        ("IS", "12.0", 12),
        ("IS", 7, 7),
        ("DS", "1,5", 1.5),
        ("DS", 2.5, 2.5),
        ("PN", {"Alphabetic": " Doe ^ Jane ^^^ "}, {"Alphabetic": "Doe^Jane"}),
        ("PN", {"Alphabetic": "Doe, Jane"}, {"Alphabetic": "Doe^Jane"}),
        ("PN", {"Alphabetic": "Doe, Jane^ ^"}, {"Alphabetic": "Doe^Jane"}),
        ("PN", {"Alphabetic": "a^b^c^d^e^f"}, {"Alphabetic": "a^b^c^d^e f"}),
        ("PN", "A=I=P", {"Alphabetic": "A", "Ideographic": "I", "Phonetic": "P"}),
        ("PN", {"Alphabetic": "Doe^^^", "Phonetic": " "}, {"Alphabetic": "Doe"}),
        ("US", 5, 5),
    ],
)
def test_a_value_becomes_canonical(vr: str, before: Any, after: Any) -> None:
    assert _one(vr, before) == [after]


@pytest.mark.parametrize(
    ("vr", "before"),
    [
        ("DA", "20230229"),
        ("DA", "unknown"),
        ("TM", "2560"),
        ("DT", "soon"),
        ("IS", "1.5"),
        ("IS", "abc"),
        ("DS", "nan"),
        ("DS", "1_0"),
        ("LO", " \0"),
        ("PN", {"Alphabetic": "^^"}),
        ("PN", {"Alphabetic": ",^"}),
    ],
)
def test_an_illegal_value_is_not_in_the_view_and_the_change_is_told(vr: str, before: Any) -> None:
    found = normalise({"00100010": {"vr": vr, "Value": [before]}})
    assert found.attributes == {"00100010": {"vr": vr}}
    (change,) = found.changes
    assert (change.path, change.before, change.after) == ("00100010", before, None)
    assert change.rule in {rule.name for rule in RULES}


def test_an_illegal_value_among_others_leaves_its_place() -> None:
    assert _one("DA", "20240101", "junk", "2024.01.02") == ["20240101", None, "20240102"]


def test_changes_within_sequences_name_their_item() -> None:
    data = {"00081140": {"vr": "SQ", "Value": [{}, {"00080020": {"vr": "DA", "Value": ["2024.01.01"]}}]}}
    found = normalise(data)
    assert found.changes == (Change("00081140.1.00080020", "2024.01.01", "20240101", "dates"),)


def test_the_original_is_not_touched_and_unchanged_parts_are_shared() -> None:
    data = {
        "00080020": {"vr": "DA", "Value": ["2024.01.01"]},
        "00081140": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["mr"]}}]},
        "00100020": {"vr": "LO", "Value": ["1"]},
    }
    before = copy.deepcopy(data)
    found = normalise(data)
    assert data == before
    assert found.attributes["00100020"] is data["00100020"]
    assert normalise(found.attributes).attributes is found.attributes


@pytest.mark.parametrize(
    "odd",
    [
        {"00100010": None},
        {"00100010": []},
        {"00100010": {}},
        {"00100010": {"vr": 5, "Value": ["x"]}},
        {"00100010": {"vr": "LO", "Value": "text"}},
        {"00100010": {"vr": "PN", "Value": [5, True, [], {"Alphabetic": 3}]}},
        {"00100010": {"vr": "DA", "Value": [20240101, {}, []]}},
        {"00100010": {"vr": "DS", "Value": [float("nan"), True, [], 10**400]}},
        {"00100010": {"vr": "DA", "Value": [{"Alphabetic": "=0"}]}},
        {"00100010": {"vr": "AE", "Value": [float("nan")]}},
        {"00100010": {"vr": "SQ", "Value": ["x", None, 3]}},
    ],
)
def test_json_that_is_not_dicom_does_not_raise(odd: Any) -> None:
    found = normalise(odd)
    assert normalise(found.attributes).changes == ()
