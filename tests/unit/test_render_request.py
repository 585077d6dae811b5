"""Rendering parameters (PS3.18 8.3.5), and the lines that are written into pictures."""

from __future__ import annotations

import pytest

from vna.domain.errors import InvalidInputError, TooLargeError
from vna.domain.identity import InstanceUids
from vna.domain.records import Location
from vna.retrieve.limited import LimitedPool, Limits
from vna.retrieve.render_request import Viewport, Window, parse_annotation, parse_viewport, parse_window
from vna.retrieve.render_source import candidates
from vna.retrieve.render_texts import lines


def test_windows() -> None:
    assert parse_window("40,400,linear") == Window(40, 400, "LINEAR")
    assert parse_window("-6e2, 1500.5 ,LINEAR-EXACT") == Window(-600, 1500.5, "LINEAR_EXACT")
    assert parse_window("0.5,0.1,sigmoid") == Window(0.5, 0.1, "SIGMOID")


@pytest.mark.parametrize(
    "text", ["", "1", "1,0", "40,400", "1,-5,linear-exact", "nan,1", "1,inf", "1,2,linear,3", "1,2,LUT"]
)
def test_no_windows(text: str) -> None:
    with pytest.raises(InvalidInputError, match="window"):
        parse_window(text)


def test_viewports() -> None:
    assert parse_viewport("512,256") == Viewport(512, 256)
    assert parse_viewport("512,256,10,20.5,-100,50") == Viewport(512, 256, 10, 20.5, -100, 50)
    assert parse_viewport("512,256,,,100") == Viewport(512, 256, 0, 0, 100, None)


@pytest.mark.parametrize("text", ["", "5", "0,5", "-1,5", "5,9000", "5,5,-1,0", "5,5,0,0,0,1", "1,1,1,1,1,1,1", "x,y"])
def test_no_viewports(text: str) -> None:
    with pytest.raises(InvalidInputError, match="viewport"):
        parse_viewport(text)


def test_lines_hold_what_there_is() -> None:
    attributes = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane^^Dr"}]},
        "00100020": {"vr": "LO", "Value": ["4711\n"]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00180060": {"vr": "DS", "Value": [120.0]},
        "00180050": {"vr": "DS"},
    }
    assert lines(attributes, parse_annotation("patient,technique")) == ("Doe Jane Dr", "ID 4711", "CT", "kVp 120")
    assert lines(attributes, ()) == ()


def test_candidates_go_from_the_middle_outwards() -> None:
    places = [Location(InstanceUids("1", "2", str(number)), "", "", "", 0, "") for number in range(5)]
    assert [place.uids.sop for place in candidates(places)] == ["2", "1", "3", "0", "4"]


def test_a_picture_has_a_limit_of_pixels_and_no_child_is_started_for_it() -> None:
    pool = LimitedPool(Limits(max_pixels=100))
    pool.check_pixels(5, 5, 1, 4)
    with pytest.raises(TooLargeError, match="60000 rows, 60000 columns"):
        pool.check_pixels(60000, 60000, 1)
    assert pool.pids == []
    pool.close()
