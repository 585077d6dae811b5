from __future__ import annotations

import pytest

from tests.properties.test_multipart import parts_of
from vna.dicom.multipart import MAX_HEADER_BYTES, MultipartError, MultipartReader, new_boundary, related_type

PART = "Content-Type: application/dicom\r\nContent-Location: /x\r\n\r\nBODY"


@pytest.mark.parametrize(
    "body",
    [
        f"--b\r\n{PART}\r\n--b--\r\n",
        f"--b\r\n{PART}\r\n--b--",
        f"\r\n--b\r\n{PART}\r\n--b--\r\n",
        f"a preamble\r\nof two lines\r\n--b\r\n{PART}\r\n--b--\r\nan epilogue --b\r\n",
        f"--b  \t\r\n{PART}\r\n--b--\r\n",
        f"--b\n{PART}\n--b--\n".replace("\r\n", "\n"),
        f"not--b\r\n--bc\r\n--b\r\n{PART}\r\n--b--",
        "--b\r\ncontent-type:application/dicom\r\nCONTENT-LOCATION:\r\n /x\r\n\r\nBODY\r\n--b--\r\n",
    ],
    ids=["plain", "no-last-newline", "leading-newline", "preamble", "padding", "line-feeds", "near-preamble", "folded"],
)
def test_one_part(body: str) -> None:
    expected = [({"content-type": "application/dicom", "content-location": "/x"}, b"BODY")]
    assert parts_of(body.encode(), [], "b") == expected


def test_a_part_without_header_and_an_empty_one() -> None:
    assert parts_of(b"--b\r\n\r\nx\r\n--b\r\nA: 1\r\n\r\n--b\r\n\r\n\r\n--b--", [], "b") == [
        ({}, b"x"),
        ({"a": "1"}, b""),
        ({}, b""),
    ]


def test_content_that_nearly_is_a_boundary_stays_content() -> None:
    content = b"\r\n--bx\r\n--b-\r\n--b -\r\n-b\r\n--"
    assert parts_of(b"--b\r\n\r\n" + content + b"\r\n--b--", [], "b") == [({}, content)]


def test_a_part_that_ends_in_a_carriage_return_keeps_it() -> None:
    assert parts_of(b"--b\n\nx\r\n--b--\n", [], "b") == [({}, b"x\r")]
    assert parts_of(b"--b\r\n\r\nx\r\r\n--b--\r\n", [], "b") == [({}, b"x\r")]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no boundary line"),
        (b"--c\r\n\r\nx\r\n--c--", "no boundary line"),
        (b"--b\r\n\r\nx", "part 1"),
        (b"--b\r\n\r\nx\r\n--b", "part 1"),
        (b"--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n", "part 2"),
        (b"--b\r\nno colon\r\n\r\nx\r\n--b--", "without a name"),
        (b"--b\r\n" + b"A: " + b"x" * MAX_HEADER_BYTES, "longer than"),
        (b"x" * 70_000, "64 KiB"),
    ],
)
def test_what_is_no_multipart_is_refused_with_a_reason(body: bytes, says: str) -> None:
    with pytest.raises(MultipartError, match=says):
        parts_of(body, [], "b")


@pytest.mark.parametrize("boundary", ["", " ", "a ", "x" * 201, "a\nb", "ä"])
def test_what_cannot_be_a_boundary(boundary: str) -> None:
    with pytest.raises(MultipartError, match="boundary"):
        MultipartReader(boundary)


def test_boundaries_of_our_own_are_fit_and_never_the_same() -> None:
    first, second = new_boundary(), new_boundary()
    assert first != second
    assert len(first) <= 70
    assert MultipartReader(first).parts == 0
    assert related_type("image/jls", "b") == 'multipart/related; type="image/jls"; boundary=b'


def test_the_reader_holds_no_more_than_a_boundary() -> None:
    reader = MultipartReader("b" * 70)
    list(reader.feed(b"--" + b"b" * 70 + b"\r\n\r\n"))
    for _ in range(50):
        list(reader.feed(b"\r\n--" + b"b" * 60 + b"x" * 1000))
        assert len(reader._rest) <= 74
