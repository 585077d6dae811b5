from __future__ import annotations

import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID_dictionary

from vna.dicom.decode import ImagePixel, can_decode
from vna.dicom.frames import encapsulated_frames, native_frame
from vna.dicom.header import Bulk
from vna.domain.errors import InvalidInputError, NotFoundError, UnsupportedError
from vna.gateways.dicomweb.frames import parse_frames

END = b"..\xff\xd9"
GO_ON = b"...."


def bulk(contents: list[bytes], frames: tuple[int, ...] = ()) -> tuple[Bulk, bytes]:
    data = b"".join(contents)
    spans = []
    for content in contents:
        spans.append((sum(length for _, length in spans), len(content)))
    return Bulk("OB", 0, len(data), encapsulated=True, fragments=tuple(spans), frames=frames), data


def frames_of(contents: list[bytes], count: int, table: tuple[int, ...] = ()) -> list[list[bytes]]:
    value, data = bulk(contents, table)
    found = encapsulated_frames(value, count, lambda offset, length: data[offset : offset + length])
    return [[data[offset : offset + length] for offset, length in frame] for frame in found]


def test_an_offset_table_says_which_fragments_make_a_frame() -> None:
    assert frames_of([b"a", b"b", b"c"], 2, (2, 1)) == [[b"a", b"b"], [b"c"]]


def test_a_single_frame_has_every_fragment() -> None:
    assert frames_of([b"a", b"b", b"c"], 1) == [[b"a", b"b", b"c"]]


def test_as_many_fragments_as_frames_are_one_each() -> None:
    assert frames_of([b"a", b"b"], 2) == [[b"a"], [b"b"]]


def test_without_a_table_the_ends_of_images_tell() -> None:
    contents = [GO_ON, END, END + b"\0", GO_ON, GO_ON, END]
    assert frames_of(contents, 3) == [[GO_ON, END], [END + b"\0"], [GO_ON, GO_ON, END]]


@pytest.mark.parametrize("contents", [[GO_ON, GO_ON, GO_ON], [END, END, END], [END, END, GO_ON]])
def test_what_cannot_be_told_is_refused_rather_than_guessed(contents: list[bytes]) -> None:
    with pytest.raises(UnsupportedError, match="2 frames cannot be told"):
        frames_of(contents, 2)


def test_native_frames_lie_one_after_the_other() -> None:
    image = ImagePixel(rows=2, columns=3, samples=1, bits_allocated=16, frames=3)
    place = native_frame(image, 2, 36)
    assert (place.offset, place.length, place.shift) == (12, 12, 0)
    assert place.unpack(b"x" * 12) == b"x" * 12


def test_chrominance_of_ybr_full_422_is_halved() -> None:
    image = ImagePixel(rows=2, columns=4, samples=3, photometric="YBR_FULL_422")
    assert image.frame_bits == 2 * 4 * 2 * 8


def test_frames_of_one_bit_are_packed_without_gaps() -> None:
    image = ImagePixel(rows=3, columns=3, bits_allocated=1, bits_stored=1, frames=3)
    bits = "110110011001001100101010101"
    data = int(bits[::-1], 2).to_bytes(4, "little")
    for number in (1, 2, 3):
        place = native_frame(image, number, len(data))
        frame = place.unpack(data[place.offset : place.offset + place.length])
        text = f"{int.from_bytes(frame, 'little'):016b}"[::-1]
        assert text == bits[(number - 1) * 9 : number * 9] + "0" * 7


@pytest.mark.parametrize("number", [0, 4, -1])
def test_there_is_no_such_frame(number: int) -> None:
    with pytest.raises(NotFoundError, match="it has 3"):
        native_frame(ImagePixel(rows=1, columns=1, frames=3), number, 3)


def test_frames_beyond_the_data_are_not_there() -> None:
    with pytest.raises(NotFoundError, match="it has 2"):
        native_frame(ImagePixel(rows=1, columns=2, frames=3), 3, 5)


def test_an_instance_without_rows_is_no_image() -> None:
    with pytest.raises(UnsupportedError, match="no image"):
        ImagePixel.of({"00280010": {"vr": "US", "Value": [0]}})


def test_lists_of_frames() -> None:
    assert parse_frames("1") == [1]
    assert parse_frames("3,1,3") == [3, 1, 3]


@pytest.mark.parametrize("text", ["", "0", "1,", ",1", "1,,2", "a", "-1", "1-3", "1" * 10, "1,0", "\u0661"])
def test_what_is_no_list_of_frames(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_frames(text)


def test_what_can_be_decoded_is_what_the_decoders_say() -> None:
    def available(uid: str) -> bool:
        try:
            return bool(get_decoder(uid).is_available)
        except NotImplementedError:
            return False

    syntaxes = [uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax"]
    assert {uid for uid in syntaxes if can_decode(uid)} == {uid for uid in syntaxes if available(uid)}
    assert not can_decode("1.2.3")
