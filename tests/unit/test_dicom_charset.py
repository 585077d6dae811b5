"""Texts in declared, missing, wrong and misspelt character sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dicom_bytes import element, instance, item
from vna.dicom.charset import Charset, codec_of
from vna.dicom.reader import read_header


def _decode(raw: bytes, *terms: str) -> tuple[str, list[str]]:
    warned: list[str] = []
    return Charset(terms, warned.append).decode(raw), warned


@pytest.mark.parametrize(
    ("raw", "terms", "text"),
    [
        (b"plain", (), "plain"),
        (b"M\xfcller", ("ISO_IR 100",), "Müller"),
        ("Łódź".encode("iso8859_2"), ("ISO_IR 101",), "Łódź"),
        ("Люк".encode("iso8859_5"), ("ISO_IR 144",), "Люк"),
        ("สม".encode("iso8859_11"), ("ISO_IR 166",), "สม"),
        ("€".encode("iso8859_15"), ("ISO_IR 203",), "€"),
        ("王小东".encode(), ("ISO_IR 192",), "王小东"),
        ("王小东".encode("gb18030"), ("GB18030",), "王小东"),
        ("王小东".encode("gbk"), ("GBK",), "王小东"),
        (b"\xd4\xcf\xc0\xde", ("ISO_IR 13",), "ﾔﾏﾀﾞ"),
        (b"\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", ("", "ISO 2022 IR 149"), "洪^吉洞"),
        (b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", ("", "ISO 2022 IR 87"), "山田^太郎"),
        (b"\x1b$(D\x30\x21\x1b(B", ("", "ISO 2022 IR 159"), "丂"),
        (b"\x1b$)A\xcd\xf5\\\x1b$)A\xb6\xab", ("", "ISO 2022 IR 58"), "王\\东"),
        (b"Buc^J\x1b-A\xe9r\xf4me", ("", "ISO 2022 IR 100"), "Buc^Jérôme"),
        (b"Dion \x1b-F\xc4\xe9\xef\xed", ("ISO 2022 IR 100", "ISO 2022 IR 126"), "Dion Διον"),
    ],
)
def test_declared_character_sets(raw: bytes, terms: tuple[str, ...], text: str) -> None:
    assert _decode(raw, *terms) == (text, [])


@pytest.mark.parametrize(
    ("raw", "terms", "text"),
    [
        ("Müller".encode(), (), "Müller"),
        (b"M\xfcller", (), "Müller"),
        (b"M\xfcller", ("ISO_IR 192",), "Müller"),
        ("Müller".encode(), ("NONSENSE",), "Müller"),
        (b"\x81\xfc", ("ISO_IR 192",), "\x81ü"),
        (b"\x1b$B\xff\xff\x1b(B", ("", "ISO 2022 IR 87"), "\x1b$Bÿÿ\x1b(B"),
    ],
)
def test_wrong_or_missing_declarations_fall_back_with_a_warning(raw: bytes, terms: tuple[str, ...], text: str) -> None:
    found, warned = _decode(raw, *terms)
    assert found == text
    assert warned


@pytest.mark.parametrize(
    ("term", "codec"),
    [
        ("ISO_IR 100", "latin_1"),
        ("ISO IR 100", "latin_1"),
        ("ISO-IR_100", "latin_1"),
        ("ISO 2022 IR 100", "latin_1"),
        ("ISO 2022 GBK", "gbk"),
        ("utf-8", "utf_8"),
        ("", "ascii"),
        ("ISO_IR 999", None),
        ("KLINGON", None),
    ],
)
def test_defined_terms_and_their_misspellings(term: str, codec: str | None) -> None:
    assert codec_of(term) == codec


def test_a_backslash_within_a_character_of_several_bytes_does_not_split(tmp_path: Path) -> None:
    text = "誠\\俞"
    raw = text.encode("gb18030")
    assert raw.count(b"\\") > 1
    path = tmp_path / "gb.dcm"
    path.write_bytes(instance(element(0x00080005, "CS", b"GB18030") + element(0x00081080, "LO", raw)))
    assert read_header(path).attributes["00081080"]["Value"] == text.split("\\")


def test_an_item_inherits_the_character_set_until_it_declares_another(tmp_path: Path) -> None:
    inherits = item(element(0x00080104, "LO", b"M\xfcller"))
    declares = item(element(0x00080005, "CS", b"ISO_IR 192") + element(0x00080104, "LO", "Müller".encode()))
    path = tmp_path / "items.dcm"
    codes = element(0x00081032, "SQ", inherits + declares + inherits)
    path.write_bytes(instance(element(0x00080005, "CS", b"ISO_IR 100") + codes))
    header = read_header(path)
    items = header.attributes["00081032"]["Value"]
    assert [one["00080104"]["Value"] for one in items] == [["Müller"]] * 3
    assert header.warnings == ()
