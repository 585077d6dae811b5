"""Terms and words: what is matched."""

from __future__ import annotations

from typing import Any

from vna.normalise.terms import MOST_TERMS, terms, words


def _element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def test_terms_of_each_kind_of_value() -> None:
    found = terms(
        {
            "00080020": _element("DA", "20240203"),
            "00080030": _element("TM", "1011"),
            "0008002A": _element("DT", "2024"),
            "00080060": _element("CS", "MR"),
            "00080018": _element("UI", "1.2.3"),
            "00100010": _element("PN", {"Alphabetic": "Müller^Anna", "Ideographic": "山田^太郎"}),
            "00100020": _element("LO", " X 1 "),
            "00200011": _element("IS", 7),
            "00281050": _element("DS", 40.0, 0.5),
            "00280010": _element("US", 512),
            "00280009": _element("AT", "00181063"),
            "00081030": {"vr": "LO"},
            "00420011": {"vr": "OB", "InlineBinary": "AAAA"},
        }
    )
    assert found == {
        "00080020": ("20240203",),
        "00080030": ("101100.000000",),
        "0008002A": ("20240101000000.000000",),
        "00080060": ("MR",),
        "00080018": ("1.2.3",),
        "00100010": ("muller^anna", "山田^太郎"),
        "00100020": ("X 1",),
        "00200011": ("7",),
        "00281050": ("40", "0.5"),
        "00280010": ("512",),
        "00280009": ("00181063",),
    }


def test_items_of_a_sequence_come_together_under_a_path_without_numbers() -> None:
    items = [{"00400009": _element("SH", "A")}, {"00400009": _element("SH", "B")}, {"00400009": _element("SH", "A")}]
    assert terms({"00400275": {"vr": "SQ", "Value": items}}) == {"00400275.00400009": ("A", "B")}


def test_sequences_are_entered_three_deep() -> None:
    data: dict[str, Any] = {"00080100": _element("SH", "x")}
    for _ in range(4):
        data = {"00080100": _element("SH", "x"), "00400275": {"vr": "SQ", "Value": [data]}}
    assert max(path.count(".") for path in terms(data)) == 3


def test_private_attributes_go_by_their_creator() -> None:
    data = {"00290010": _element("LO", "ACME 1.0 "), "0029101A": _element("LO", "v"), "00291101": _element("LO", "w")}
    found = terms(data)
    assert found["0029xx1A@ACME 1.0"] == ("v",)
    assert found["00291101"] == ("w",)


def test_long_values_are_left_out_and_many_are_limited() -> None:
    assert terms({"00081030": _element("LO", "x" * 513), "00104000": _element("LT", "x" * 257)}) == {}
    assert terms({"00104000": _element("LT", "x" * 256)})
    items = [{"00080100": _element("SH", str(n))} for n in range(3 * MOST_TERMS)]
    assert len(terms({"00400275": {"vr": "SQ", "Value": items}})["00400275.00080100"]) == MOST_TERMS


def test_words() -> None:
    found = words(
        {
            "00100010": _element("PN", {"Alphabetic": "Müller^Anna"}),
            "00081030": _element("LO", "Head  CT", "head MR"),
            "00080060": _element("CS", "CT"),
            "00102160": _element("SH", "not a word of the search"),
        }
    )
    assert found == ("muller", "anna", "head", "ct", "mr")
