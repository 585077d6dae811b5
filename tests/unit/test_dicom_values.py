"""Values become the DICOM JSON model."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from vna.dicom.charset import Charset
from vna.dicom.dictionary import hex_tag, private_vr, public_vr, show_tag
from vna.dicom.values import BIG, LITTLE, little_endian

_CHARSET = Charset((), lambda _text: None)


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("CS", b"ORIGINAL\\PRIMARY ", ["ORIGINAL", "PRIMARY"]),
        ("CS", b"A\\\\B", ["A", None, "B"]),
        ("LO", b"   ", None),
        ("LT", b"a\\b ", ["a\\b"]),
        ("UR", b"http://x/y\\z ", ["http://x/y\\z"]),
        ("UI", b"1.2\\ 1.3\0", ["1.2", "1.3"]),
        ("PN", b"A^B=I=P", [{"Alphabetic": "A^B", "Ideographic": "I", "Phonetic": "P"}]),
        ("PN", b"=I", [{"Ideographic": "I"}]),
        ("PN", b"A\\\\B", [{"Alphabetic": "A"}, None, {"Alphabetic": "B"}]),
        ("PN", b"==", None),
        ("IS", b" 12 \\-3", [12, -3]),
        ("IS", b"99999999999999999999999", ["99999999999999999999999"]),
        ("DS", b" 1.50 \\2E-1", [1.5, 0.2]),
        ("US", b"\1\0\2\0", [1, 2]),
        ("SS", b"\xff\xff", [-1]),
        ("UV", b"\xff" * 8, [2**64 - 1]),
        ("SV", b"\xff" * 8, [-1]),
        ("FD", struct.pack("<d", 0.1), [0.1]),
        ("AT", b"\x08\0\x05\0\x10\0\x20\0", ["00080005", "00100020"]),
        ("US", b"", None),
    ],
)
def test_values_in_little_endian(vr: str, raw: bytes, values: Any) -> None:
    assert LITTLE[vr](raw, _CHARSET) == values


def test_values_in_big_endian() -> None:
    assert BIG["US"](b"\0\1", _CHARSET) == [1]
    assert BIG["FL"](struct.pack(">f", 0.5), _CHARSET) == [0.5]
    assert BIG["AT"](b"\0\x08\0\x05", _CHARSET) == ["00080005"]
    assert little_endian(b"\0\1\0\2", "OW") == b"\1\0\2\0"
    assert little_endian(b"\0\1\0\2", "OB") == b"\0\1\0\2"
    assert little_endian(bytes(range(8)), "OD") == bytes(reversed(range(8)))


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0x00100010, "PN"),
        (0x7FE00010, "OW"),
        (0x60023000, "OW"),
        (0x60020010, "US"),
        (0x50043000, "OW"),
        (0x00200000, "UL"),
        (0x00203100, "CS"),
        (0x00189999, "UN"),
        (0x00280106, "US"),
    ],
)
def test_value_representations_of_standard_attributes(tag: int, vr: str) -> None:
    assert public_vr(tag) == vr


def test_value_representations_that_depend_on_others() -> None:
    assert public_vr(0x00280106, 1) == "SS"
    assert public_vr(0x00280106, 0) == "US"
    assert public_vr(0x00283002, 1) == "US"
    assert public_vr(0x00283006, 0, 1) == "US"
    assert public_vr(0x00283006, 0, 256) == "OW"


def test_private_attributes_and_names() -> None:
    assert private_vr(0x00291008, "SIEMENS CSA HEADER") == "CS"
    assert private_vr(0x00291008, "NOBODY") == "UN"
    assert hex_tag(0x0020000D) == "0020000D"
    assert show_tag(0x0020000D) == "StudyInstanceUID (0020,000D)"
    assert show_tag(0x00290010) == "(0029,0010)"
