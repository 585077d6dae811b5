"""What a written Part-10 file has around values that are copied from a file."""

from __future__ import annotations

import io
import struct

import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames, parse_basic_offsets

from vna.dicom.from_json import data_set_of, parse_json
from vna.dicom.write import BulkValue, DataSetWriter, file_meta
from vna.domain.errors import UnparsableError
from vna.domain.records import Attributes

JPEG = "1.2.840.10008.1.2.4.50"
PIXELS = {"7FE00010": {"vr": "OW", "BulkDataURI": "p"}}


def written(value: BulkValue, content: bytes, attributes: Attributes | None = None) -> bytes:
    out = io.BytesIO()
    out.write(file_meta("1.2.3", "1.2.3.4", JPEG))
    writer = DataSetWriter(out, {"p": value}, lambda offset, length: [content[offset : offset + length]])
    writer.write({**(attributes or {}), **PIXELS})
    return out.getvalue()


def test_frames_are_fragments_of_even_length_behind_their_offsets() -> None:
    data_set = dcmread(io.BytesIO(written(BulkValue(((4, 5), (0, 4), (9, 3)), encapsulated=True), b"aaaabbbbbccc")))
    assert data_set["PixelData"].VR == "OB"
    assert parse_basic_offsets(data_set.PixelData) == [0, 14, 26]
    assert list(generate_frames(data_set.PixelData, number_of_frames=3)) == [b"bbbbb\0", b"aaaa", b"ccc\0"]


def test_one_frame_has_no_offsets() -> None:
    data_set = dcmread(io.BytesIO(written(BulkValue(((0, 4),), encapsulated=True), b"aaaa")))
    assert parse_basic_offsets(data_set.PixelData) == []


def test_offsets_beyond_32_bits_are_in_the_extended_table() -> None:
    """The frames are told to be that long; none of their bytes is made."""
    size = (3 << 30) + 1
    old = {"7FE00001": {"vr": "OV", "InlineBinary": "AAAAAAAAAAA="}}
    data = written(BulkValue(((0, size), (size, size), (2 * size, size)), encapsulated=True), b"", old)
    place = data.index(b"\xe0\x7f\x01\x00OV\0\0")
    assert struct.unpack_from("<L3Q", data, place + 8) == (24, 0, size + 9, 2 * (size + 9))
    place = data.index(b"\xe0\x7f\x02\x00OV\0\0")
    assert struct.unpack_from("<L3Q", data, place + 8) == (24, size, size, size)
    assert b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" in data
    assert data.count(b"\xe0\x7f\x01\x00OV") == 1


@pytest.mark.parametrize("encapsulated", [True, False])
def test_what_is_longer_than_a_value_can_be_is_refused(*, encapsulated: bool) -> None:
    with pytest.raises(UnparsableError, match=r"PixelData \(7FE0,0010\)"):
        written(BulkValue(((0, 1 << 32),), encapsulated), b"")


def test_the_meta_information_is_that_of_this_archive() -> None:
    data_set = dcmread(io.BytesIO(written(BulkValue(((0, 4),)), b"aaaa")))
    assert data_set.file_meta.MediaStorageSOPClassUID == "1.2.3"
    assert data_set.file_meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert data_set.file_meta.ImplementationVersionName == "VNA_0_1"
    assert data_set.PixelData == b"aaaa"


def test_arrays_that_are_too_deep_are_refused() -> None:
    (found,) = parse_json(b'[{"00100020":{"vr":"LO","Value":' + b"[" * 1015 + b"]" * 1015 + b"}}]")
    with pytest.raises(UnparsableError, match="arrays within arrays"):
        DataSetWriter(io.BytesIO(), {}, lambda _offset, _length: []).write(data_set_of(found))
