"""Structured reports as text, and profiles in pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from vna.retrieve.render_profile import with_profile
from vna.retrieve.report import Report, is_report


def code(meaning: str, value: str = "1") -> dict[str, Any]:
    return {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": [value]}, "00080104": _text("LO", meaning)}]}


def _text(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def item(kind: str, name: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {"0040A040": _text("CS", kind), "0040A043": code(name)} | {f"{tag[1:]}": v for tag, v in more.items()}
    return found | ({"0040A730": {"vr": "SQ", "Value": list(content)}} if content else {})


def number(value: str, unit: str) -> dict[str, Any]:
    return {"vr": "SQ", "Value": [{"0040A30A": _text("DS", value), "004008EA": code("", unit)}]}


REPORT = item(
    "CONTAINER",
    "Report <of> measurements",
    item(
        "CONTAINER",
        "Liver",
        item("NUM", "Diameter", _0040A300=number("12.5", "mm")),
        item("NUM", "Ratio", _0040A300=number("0.5", "1")),
        item("CODE", "Side", _0040A168=code("Left")),
    ),
    item("TEXT", "Finding", _0040A160=_text("UT", "No <b>abnormality</b>\nwas seen.")),
    item("PNAME", "Observer", _0040A123=_text("PN", {"Alphabetic": "Doe^Jane"})),
    item("IMAGE", "", _00081199={"vr": "SQ", "Value": [{"00081155": _text("UI", "1.2.3")}]}),
) | {"00100010": _text("PN", {"Alphabetic": "Müller^Anna"}), "0040A491": _text("CS", "COMPLETE")}


def test_a_report_as_plain_text_is_its_tree() -> None:
    lines = Report(REPORT).plain().decode().split("\n")
    assert lines[:4] == ["Report <of> measurements", "", "Patient: Müller Anna", "Completion: COMPLETE"]
    assert lines[5:9] == ["Liver", "  Diameter: 12.5 mm", "  Ratio: 0.5", "  Side: Left"]
    assert lines[9:] == ["Finding: No <b>abnormality</b>", "was seen.", "Observer: Doe Jane", "1: image 1.2.3", ""]


def test_a_report_as_html_is_a_well_formed_tree_in_which_nothing_of_it_is_markup() -> None:
    page = Report(REPORT).html().decode()
    assert page.count("<ul>") == page.count("</ul>") == 2
    assert page.count("<li>") == page.count("</li>") == 7
    assert "<li><b>Liver</b><ul><li><b>Diameter</b>: 12.5 mm</li><li>" in page
    assert "No &lt;b&gt;abnormality&lt;/b&gt;<br>was seen." in page
    assert "Report &lt;of&gt; measurements" in page


def test_what_has_no_content_is_a_report_without_lines() -> None:
    empty = {"0040A040": _text("CS", "CONTAINER")}
    assert is_report(empty)
    assert not is_report({"00080060": _text("CS", "CT")})
    assert Report(empty).html().count(b"<ul>") == 0
    assert Report(empty).plain() == b"Report\n\n\n"


def test_a_report_nested_very_deep_is_read() -> None:
    nested = item("TEXT", "deepest")
    for _ in range(5000):
        nested = item("CONTAINER", "inner", nested)
    assert Report(nested).plain().count(b"inner") == 5000
    assert Report(nested).html().count(b"</ul>") == 5000


@pytest.mark.parametrize("wanted", ["adobergb", "rommrgb"])
def test_a_wider_space_holds_the_same_colours_in_other_numbers(wanted: str) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8))
    made, profile = with_profile(image, wanted, b"")
    assert np.abs(np.asarray(made).astype(int) - np.asarray(image)).max() > 20
    back = ImageCms.profileToProfile(
        made, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert back is not None
    assert np.abs(np.asarray(back).astype(int) - np.asarray(image)).mean() < 3


def test_the_image_s_own_profile_is_embedded_or_converted_from() -> None:
    image = Image.new("RGB", (4, 4), (200, 30, 30))
    _, own = with_profile(image, "adobergb", b"")
    assert with_profile(image, "yes", own) == (image, own)
    converted, profile = with_profile(image, "srgb", own)
    assert converted.getpixel((0, 0)) != (200, 30, 30)
    assert profile != own
    assert with_profile(image, "srgb", b"no profile at all")[0].getpixel((0, 0)) == (200, 30, 30)


def test_greys_become_colour_with_the_profile_of_a_colour_space() -> None:
    made, profile = with_profile(Image.new("L", (2, 2), 77), "yes", b"")
    assert (made.mode, made.getpixel((0, 0))) == ("RGB", (77, 77, 77))
    assert profile[36:40] == b"acsp"
