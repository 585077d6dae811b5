"""Files that no standard allows: survived with a warning, or refused with a reason."""

from __future__ import annotations

import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.dicom_bytes import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IDS,
    IMPLICIT,
    ITEM_END,
    JPEG,
    SEQUENCE_END,
    UNDEFINED,
    element,
    ids,
    implicit,
    instance,
    item,
    meta,
)
from vna.dicom.header import Header
from vna.dicom.reader import read_header
from vna.domain.errors import UnparsableError

Read = Callable[[bytes], Header]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def do(data: bytes) -> Header:
        path = tmp_path / "file.dcm"
        path.write_bytes(data)
        return read_header(path)

    return do


def _value(header: Header, tag: str) -> object:
    return header.attributes[tag].get("Value")


NAME = element(0x00100010, "PN", b"Doe^Jane")


def test_a_plain_instance_has_no_warnings(read: Read) -> None:
    header = read(instance(NAME))
    assert header.warnings == ()
    assert header.transfer_syntax == EXPLICIT
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert header.meta["00020010"] == {"vr": "UI", "Value": [EXPLICIT]}
    assert "00020010" not in header.attributes


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (ids() + NAME, EXPLICIT),
        (b"".join(implicit(tag, value) for tag, _vr, value in IDS), IMPLICIT),
        (ids(">") + element(0x00280010, "US", b"\1\0", order=">"), BIG),
        (bytes(128) + b"DICM" + ids(), EXPLICIT),
        (meta()[128:] + ids(), EXPLICIT),
        (meta()[132:] + ids(), EXPLICIT),
    ],
)
def test_files_without_preamble_or_meta_are_read_by_their_looks(read: Read, data: bytes, syntax: str) -> None:
    header = read(data)
    assert header.transfer_syntax == syntax
    assert _value(header, "0020000D") == ["1.2.3"]
    assert header.warnings


@pytest.mark.parametrize("length", [0, 5, 20, 26, 4000, 0xFFFFFFFF])
def test_a_wrong_group_length_of_the_meta_information_is_survived(read: Read, length: int) -> None:
    content = element(0x00020010, "UI", EXPLICIT.encode())
    head = bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", length))
    header = read(head + content + ids() + NAME)
    assert header.transfer_syntax == EXPLICIT
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]


def test_a_data_set_in_another_encoding_than_declared_is_read(read: Read) -> None:
    assert _value(read(meta(IMPLICIT) + ids() + NAME), "0020000D") == ["1.2.3"]
    plain = b"".join(implicit(tag, value) for tag, _vr, value in IDS)
    assert _value(read(meta(EXPLICIT) + plain), "0020000D") == ["1.2.3"]
    assert _value(read(meta(BIG) + ids()), "0020000D") == ["1.2.3"]
    assert _value(read(meta(EXPLICIT) + ids(">")), "0020000D") == ["1.2.3"]


@pytest.mark.parametrize("vr", ["ZZ", "??", "\0\0", "  ", "ob", "lo"])
@pytest.mark.parametrize("long", [False, True])
def test_a_value_representation_that_is_none_is_read_by_the_dictionary(read: Read, vr: str, long: bool) -> None:
    value = b"Acme"
    head = struct.pack("<HH", 0x0008, 0x0070) + vr.encode()
    odd = head + (struct.pack("<HL", 0, 4) if long else struct.pack("<H", 4)) + value
    if vr == "\0\0" and not long:
        odd = implicit(0x00080070, value)
    header = read(meta() + element(0x00080016, "UI", b"1.2") + element(0x00080018, "UI", b"1.3") + odd + ids() + NAME)
    assert _value(header, "00080070") == ["Acme"]
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert header.warnings


@pytest.mark.parametrize("inner", [UNDEFINED, None])
@pytest.mark.parametrize("outer", [UNDEFINED, None])
def test_sequences_of_defined_and_undefined_length(read: Read, inner: int | None, outer: int | None) -> None:
    content = item(element(0x00081155, "UI", b"1.2"), length=inner) + item(b"", length=inner)
    if outer:
        content += SEQUENCE_END
    header = read(instance(element(0x00081140, "SQ", content, length=outer) + NAME))
    assert _value(header, "00081140") == [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert header.warnings == ()


@pytest.mark.parametrize(
    "content",
    [
        item(element(0x00081155, "UI", b"1.2"), length=UNDEFINED),  # no sequence delimiter
        item(element(0x00081155, "UI", b"1.2")),  # the same, item of defined length
        item(element(0x00081155, "UI", b"1.2"), length=UNDEFINED).removesuffix(ITEM_END) + SEQUENCE_END,
        item(element(0x00081155, "UI", b"1.2"), length=UNDEFINED) + ITEM_END + SEQUENCE_END,
    ],
)
def test_missing_and_stray_delimiters_are_survived(read: Read, content: bytes) -> None:
    header = read(instance(element(0x00081140, "SQ", content, length=UNDEFINED) + NAME))
    assert _value(header, "00081140") == [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]


def test_a_sequence_in_un_is_implicit_little_endian(read: Read) -> None:
    content = item(implicit(0x00081155, b"1.2\0"), length=UNDEFINED) + SEQUENCE_END
    header = read(instance(element(0x00091001, "UN", content, length=UNDEFINED) + NAME))
    assert header.attributes["00091001"] == {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]


@pytest.mark.parametrize("length", [None, UNDEFINED])
def test_a_known_sequence_written_as_un_is_implicit_little_endian(read: Read, length: int | None) -> None:
    content = item(implicit(0x00081155, b"1.2\0")) + (SEQUENCE_END if length else b"")
    header = read(instance(element(0x00081140, "UN", content, length=length) + NAME))
    assert header.attributes["00081140"] == {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}
    assert header.warnings == ()


def test_un_of_a_known_attribute_is_read_by_the_dictionary(read: Read) -> None:
    header = read(instance(element(0x00100010, "UN", b"Doe^Jane") + element(0x00100020, "UN")))
    assert header.attributes["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert header.attributes["00100020"] == {"vr": "LO"}


def test_private_attributes_in_implicit_vr_by_their_creator(read: Read) -> None:
    data = b"".join(implicit(tag, value) for tag, _vr, value in IDS)
    data += (
        implicit(0x00290010, b"SIEMENS CSA HEADER") + implicit(0x00291008, b"IMAGE NUM 4") + implicit(0x00291101, b"x")
    )
    header = read(meta(IMPLICIT) + data)
    assert header.attributes["00291008"] == {"vr": "CS", "Value": ["IMAGE NUM 4"]}
    assert header.attributes["00291101"]["vr"] == "UN"


def test_numbers_that_are_none_stay_texts(read: Read) -> None:
    numbers = element(0x00200013, "IS", b"1\\+02\\1.5\\\\abc\\1_0") + element(
        0x00281053, "DS", b"1\\1e3\\nan\\-inf\\1,5\\"
    )
    header = read(instance(numbers))
    assert _value(header, "00200013") == [1, 2, "1.5", None, "abc", "1_0"]
    assert _value(header, "00281053") == [1.0, 1000.0, "nan", "-inf", "1,5", None]
    floats = struct.pack("<4f", 0.5, float("nan"), float("inf"), float("-inf"))
    assert _value(read(instance(element(0x00189073, "FL", floats))), "00189073") == [0.5, "NaN", "INF", "-INF"]


def test_binary_numbers_of_a_wrong_length_are_kept_as_bytes(read: Read) -> None:
    header = read(instance(element(0x00280010, "US", b"\1\2\3", length=3) + NAME))
    assert header.attributes["00280010"] == {"vr": "UN", "InlineBinary": "AQID"}
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]
    assert "Rows (0028,0010)" in header.warnings[0]


def test_a_tag_value_is_eight_hex_digits_and_empty_values_are_none(read: Read) -> None:
    header = read(instance(element(0x00280009, "AT", b"\x18\0\x63\x10") + element(0x00080050, "SH")))
    assert _value(header, "00280009") == ["00181063"]
    assert header.attributes["00080050"] == {"vr": "SH"}


def test_long_values_are_bulk_and_short_ones_are_not(read: Read) -> None:
    content = element(0x00420011, "OB", b"x" * 4096) + element(0x0040A160, "UT", b"y" * 65538) + NAME
    data = instance(content)
    header = read(data)
    assert header.attributes["00420011"]["InlineBinary"]
    assert header.attributes["0040A160"] == {"vr": "UT", "BulkDataURI": "0040A160"}
    bulk = header.bulk["0040A160"]
    assert data[bulk.offset : bulk.offset + bulk.length] == b"y" * 65538
    assert _value(header, "00100010") == [{"Alphabetic": "Doe^Jane"}]


def test_bulk_in_a_sequence_is_named_by_its_path_and_what_follows_pixels_is_read(read: Read) -> None:
    icon = item(element(0x00280010, "US", b"\1\0") + element(0x7FE00010, "OW", b"\1\2"), length=UNDEFINED)
    content = element(0x00880200, "SQ", icon + SEQUENCE_END, length=UNDEFINED)
    data = instance(content + element(0x7FE00010, "OW", b"pixels") + element(0xFFFCFFFC, "OB", b"\0\0"))
    header = read(data)
    inner = header.bulk["00880200.0.7FE00010"]
    assert data[inner.offset : inner.offset + inner.length] == b"\1\2"
    assert _value(header, "00880200")[0]["7FE00010"] == {"vr": "OW", "BulkDataURI": "00880200.0.7FE00010"}  # type: ignore[index]
    assert "FFFCFFFC" in header.attributes


def _encapsulated(fragments: list[bytes], basic: bytes = b"", *, end: bytes = SEQUENCE_END) -> bytes:
    content = item(basic) + b"".join(item(fragment) for fragment in fragments) + end
    return element(0x7FE00010, "OB", content, length=UNDEFINED)


def test_frames_by_the_extended_offset_table(read: Read) -> None:
    table = struct.pack("<2Q", 0, 24)
    data = instance(
        element(0x7FE00001, "OV", table)
        + element(0x7FE00002, "OV", table)
        + _encapsulated([b"aaaa", b"bbbb", b"cccc"]),
        JPEG,
    )
    header = read(data)
    bulk = header.bulk["7FE00010"]
    assert bulk.frames == (2, 1)
    assert [data[at : at + length] for at, length in bulk.fragments] == [b"aaaa", b"bbbb", b"cccc"]
    assert data[bulk.offset + bulk.length :][:8] == SEQUENCE_END


@pytest.mark.parametrize("offsets", [(0, 13), (4,), (24, 0), (0, 0, 12), (0, 1 << 30)])
def test_an_offset_table_that_does_not_fit_is_not_believed(read: Read, offsets: tuple[int, ...]) -> None:
    basic = struct.pack(f"<{len(offsets)}L", *offsets)
    header = read(instance(_encapsulated([b"aaaa", b"bbbb"], basic), JPEG))
    assert header.bulk["7FE00010"].frames == ()
    assert any("offset table" in text for text in header.warnings)


def test_encapsulated_pixels_without_an_end_are_kept(read: Read) -> None:
    data = instance(_encapsulated([b"aaaa", b"bbbb"], end=b""), JPEG)
    assert len(read(data).bulk["7FE00010"].fragments) == 2
    cut = read(data[:-2])
    assert cut.bulk["7FE00010"].fragments[-1][1] == 2
    assert any("truncated" in text for text in cut.warnings)


def test_truncated_pixel_data_is_kept_with_a_warning(read: Read) -> None:
    data = instance(element(0x7FE00010, "OW", b"12345678", length=1000))
    header = read(data)
    assert header.bulk["7FE00010"].length == 8
    assert "PixelData (7FE0,0010) is truncated" in header.warnings[0]


def test_every_cut_of_a_file_is_read_or_refused(read: Read) -> None:
    sequence = element(0x00081140, "SQ", item(element(0x00081155, "UI", b"1.2"), length=UNDEFINED), length=UNDEFINED)
    data = instance(sequence + SEQUENCE_END + NAME)
    refused = 0
    for end in range(len(data)):
        try:
            assert _value(read(data[:end]), "0020000D") == ["1.2.3"]
        except UnparsableError as error:
            refused += 1
            assert str(error)  # noqa: PT017 - either outcome is right, another error is not
    assert 0 < refused < len(data)


@pytest.mark.parametrize("tag", [tag for tag, _vr, _value in IDS])
@pytest.mark.parametrize("value", [None, b"", b"\0\0", b"1.2\\1.3", b"1.2\n", b"1.2 3", b"1" * 600])
def test_an_identifying_uid_that_is_missing_or_unusable_is_named(read: Read, tag: int, value: bytes | None) -> None:
    elements = [
        element(known, vr, good if known != tag else value or b"")
        for known, vr, good in IDS
        if known != tag or value is not None
    ]
    with pytest.raises(UnparsableError, match=f"{tag >> 16:04X},{tag & 0xFFFF:04X}"):
        read(meta() + b"".join(elements))


@pytest.mark.parametrize("uid", ["1.2.03", "abc.def", "1." + "2" * 80])
def test_a_uid_illegal_by_form_is_kept_with_a_warning(read: Read, uid: str) -> None:
    header = read(meta() + ids() + element(0x0020000D, "UI", uid.encode() + b" \0"))
    assert _value(header, "0020000D") == [uid]
    assert any("StudyInstanceUID" in text for text in header.warnings)


@pytest.mark.parametrize("data", [b"", b"\0" * 200, b"hello", b"%PDF-1.7 and more of it", b"\xff" * 500])
def test_what_is_not_dicom_is_refused(read: Read, data: bytes) -> None:
    with pytest.raises(UnparsableError):
        read(data)


def test_limits_on_depth_elements_and_fragments(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vna.dicom.parser.MOST_ELEMENTS", 20_000)
    monkeypatch.setattr("vna.dicom.encapsulated.MOST_FRAGMENTS", 50_000)
    start = element(0x00081140, "SQ", length=UNDEFINED) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(UnparsableError, match="nested"):
        read(instance(start * 200))
    with pytest.raises(UnparsableError, match="elements"):
        read(instance(element(0x00081140, "SQ", item(b"") * 20_001, length=UNDEFINED)))
    with pytest.raises(UnparsableError, match="elements"):
        read(instance(ITEM_END * 20_001))
    with pytest.raises(UnparsableError, match="elements"):
        read(instance(element(0x00081140, "SQ", ITEM_END * 20_001, length=UNDEFINED)))
    with pytest.raises(UnparsableError, match="fragments"):
        read(instance(_encapsulated([b""] * 50_001), JPEG))
    with pytest.raises(UnparsableError, match="MiB"):
        read(instance(b"".join(element(0x00091000 + n, "UT", b"x" * 65000) for n in range(600))))


def test_a_file_of_2_gib_is_read_without_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "large.dcm"
    with path.open("wb") as file:
        file.write(instance(element(0x7FE00010, "OW", length=1 << 31)))
        file.seek(1 << 31, os.SEEK_CUR)
        file.write(element(0xFFFCFFFC, "OB", b"\0\0"))
    tracemalloc.start()
    try:
        header = read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert header.bulk["7FE00010"].length == 1 << 31
    assert "FFFCFFFC" in header.attributes


def _deflate(path: Path, head: bytes, pieces: int, piece: bytes, *, tail: bytes, level: int) -> None:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    with path.open("wb") as file:
        file.write(meta(DEFLATED) + packer.compress(head))
        for _ in range(pieces):
            file.write(packer.compress(piece))
        file.write(packer.compress(tail) + packer.flush())


def test_a_large_deflated_file_is_inflated_in_a_window(tmp_path: Path) -> None:
    path = tmp_path / "deflated.dcm"
    head = ids() + element(0x7FE00010, "OW", length=64 << 20)
    _deflate(
        path,
        head,
        64,
        os.urandom(1 << 14) + bytes((1 << 20) - (1 << 14)),
        tail=element(0xFFFCFFFC, "OB", b"\0\0"),
        level=1,
    )
    tracemalloc.start()
    try:
        header = read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert header.deflated
    assert header.bulk["7FE00010"].offset == len(meta(DEFLATED)) + len(head)
    assert "FFFCFFFC" in header.attributes


def test_a_deflated_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.dcm"
    _deflate(path, ids() + element(0x7FE00010, "OW", length=300 << 20), 300, bytes(1 << 20), tail=b"", level=6)
    with pytest.raises(UnparsableError, match="inflates to more"):
        read_header(path)


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_a_deflated_file_that_is_cut_or_damaged(read: Read, cut: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(ids() + element(0x7FE00010, "OW", os.urandom(50_000))) + packer.flush()
    if cut == 0:
        with pytest.raises(UnparsableError, match="cannot be inflated"):
            read(meta(DEFLATED) + b"\xff" * 100)
        return
    header = read(meta(DEFLATED) + packed[: len(packed) // (cut + 1)])
    assert 0 < header.bulk["7FE00010"].length < 50_000
    assert any("truncated" in text for text in header.warnings)


def test_a_stream_wrapped_as_zlib_is_inflated(read: Read) -> None:
    assert _value(read(meta(DEFLATED) + zlib.compress(ids() + NAME)), "00100010") == [{"Alphabetic": "Doe^Jane"}]


def test_nothing_warns_through_python(read: Read) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(instance(element(0x00080005, "CS", b"NONSENSE") + element(0x00100010, "PN", b"M\xfcller")))
