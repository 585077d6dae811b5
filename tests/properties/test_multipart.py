"""The multipart reader gives the same parts however the body is cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vna.dicom.multipart import MultipartError, MultipartReader, PartBegin, PartData, write_related

BOUNDARY = "b0"
# Pieces that look like boundaries, so that contents come as near to one as they may.
_NEAR = [
    b"\r\n",
    b"\n",
    b"\r",
    b"--",
    b"--b",
    b"\r\n--b",
    b"\n--b1",
    b"b0",
    b"-",
    b"\r\n--b1\r\n",
    b"\0" * 7,
    b"x" * 40,
]
contents = st.lists(st.one_of(st.sampled_from(_NEAR), st.binary(max_size=30)), max_size=12).map(b"".join)
contents = contents.filter(lambda content: b"--" + BOUNDARY.encode() not in content)
cuts = st.lists(st.integers(1, 50), max_size=60)


def parts_of(body: bytes, sizes: list[int], boundary: str = BOUNDARY) -> list[tuple[dict[str, str], bytes]]:
    reader = MultipartReader(boundary)
    found: list[tuple[dict[str, str], bytearray]] = []
    ended = 0
    position = 0
    pieces = []
    for size in sizes:
        pieces.append(body[position : position + size])
        position += size
    pieces.append(body[position:])
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, PartBegin):
                assert ended == len(found)
                found.append((dict(event.headers), bytearray()))
            elif isinstance(event, PartData):
                assert event.data.nbytes > 0
                found[-1][1].extend(event.data)
            else:
                ended += 1
    reader.close()
    assert ended == len(found) == reader.parts
    return [(headers, bytes(content)) for headers, content in found]


def body_of(parts: list[bytes], newline: bytes = b"\r\n") -> bytes:
    pieces = [b"--b0" + newline + b"Content-Type: application/dicom" + newline * 2 + part + newline for part in parts]
    return b"".join(pieces) + b"--b0--" + newline


@given(parts=st.lists(contents, min_size=1, max_size=4), sizes=cuts, newline=st.sampled_from([b"\r\n", b"\n"]))
@settings(deadline=None)
def test_any_cut_gives_the_same_parts(parts: list[bytes], sizes: list[int], newline: bytes) -> None:
    body = body_of(parts, newline)
    expected = [({"content-type": "application/dicom"}, part) for part in parts]
    assert parts_of(body, sizes) == expected


@given(parts=st.lists(contents, min_size=1, max_size=4), sizes=cuts, least=st.integers(1, 64))
@settings(deadline=None)
def test_what_the_writer_writes_the_reader_reads(parts: list[bytes], sizes: list[int], least: int) -> None:
    fields = {"Content-Type": "application/octet-stream", "Content-Location": "/a/b"}
    body = b"".join(write_related([(fields, [part[:5], part[5:]]) for part in parts], BOUNDARY, least=least))
    lower = {name.lower(): value for name, value in fields.items()}
    assert parts_of(body, sizes) == [(lower, part) for part in parts]


@given(body=st.binary(max_size=200), sizes=cuts)
@settings(deadline=None)
def test_anything_else_is_refused_or_read(body: bytes, sizes: list[int]) -> None:
    try:
        whole = parts_of(body, [])
    except MultipartError:
        whole = None
    try:
        cut = parts_of(body, sizes)
    except MultipartError:
        cut = None
    assert whole == cut


@given(
    pieces=st.lists(st.sampled_from([*_NEAR, b"--b0", b"--b0--", b"\r\n--b0", b"a: b", b":", b" "]), max_size=14),
    sizes=cuts,
)
@settings(deadline=None)
def test_nearly_right_bodies_do_not_depend_on_the_cut(pieces: list[bytes], sizes: list[int]) -> None:
    test_anything_else_is_refused_or_read.hypothesis.inner_test(b"".join(pieces), sizes)
