"""The retrieve transaction (WADO-RS), as a checklist of PS3.18 10.4: frames and bulk data, and HTTP's own of them."""

from __future__ import annotations

import gzip

from tests.conformance.samples import BY_LABEL, FRAMES, frame, pixels
from tests.conformance.support import (
    DICOM,
    EXPLICIT,
    OCTETS,
    RLE,
    Checklist,
    Server,
    parts_of,
    related,
    results,
    values,
)

bulk = Checklist("10.4 Retrieve (WADO-RS): frames, bulk data, ranges and conditions")

CT, SEVERAL, COMPRESSED, REPORT = BY_LABEL["A1.2"], BY_LABEL["B1.1"], BY_LABEL["C1.1"], BY_LABEL["C3.1"]
PIXELS = "7FE00010"
NATIVE_PARTS = related(OCTETS)


def bulk_uri(server: Server) -> str:
    """Return where the pixel data of an instance is, as its metadata says."""
    (found,) = results(server.get(f"{CT.url}/metadata"))
    uri = str(found[PIXELS]["BulkDataURI"])
    return uri if uri.startswith("http") else f"{server.base}{CT.url}/{uri}"


@bulk.that("10.4.1.1.1")
def one_frame_in_native_pixels(server: Server) -> None:
    (part,) = parts_of(server.get(f"{CT.url}/frames/1", accept=NATIVE_PARTS))
    assert part.kind == OCTETS
    assert part.content == pixels(2).tobytes()


@bulk.that("10.4.1.1.1")
def a_list_of_frames_in_its_order(server: Server) -> None:
    parts = parts_of(server.get(f"{SEVERAL.url}/frames/3,1", accept=NATIVE_PARTS))
    assert [part.content for part in parts] == [frame(3).tobytes(), frame(1).tobytes()]


@bulk.that("10.4.1.1.1")
def frames_are_numbered_from_1(server: Server) -> None:
    assert server.get(f"{SEVERAL.url}/frames/0", accept=NATIVE_PARTS).status_code == 400


@bulk.that("10.4.3.1")
def a_frame_behind_the_last_is_404(server: Server) -> None:
    assert server.get(f"{SEVERAL.url}/frames/{FRAMES + 1}", accept=NATIVE_PARTS).status_code == 404


@bulk.that("10.4.3.1")
def a_list_that_is_none_of_numbers_is_400(server: Server) -> None:
    assert server.get(f"{SEVERAL.url}/frames/1,two", accept=NATIVE_PARTS).status_code == 400


@bulk.that("10.4.3.1")
def frames_of_what_is_no_image_are_404(server: Server) -> None:
    assert server.get(f"{REPORT.url}/frames/1", accept=NATIVE_PARTS).status_code == 404


@bulk.that("8.7.3.3.1")
def compressed_frames_are_decoded_for_octets(server: Server) -> None:
    (part,) = parts_of(server.get(f"{COMPRESSED.url}/frames/1", accept=NATIVE_PARTS))
    assert part.content == pixels(5).tobytes()


@bulk.that("8.7.3.3.2")
def compressed_frames_by_their_media_type(server: Server) -> None:
    (part,) = parts_of(server.get(f"{COMPRESSED.url}/frames/1", accept=related("image/dicom-rle")))
    assert part.kind == "image/dicom-rle"
    assert 64 < len(part.content) != len(pixels(5).tobytes())


@bulk.that("8.7.3.5.2")
def frames_as_stored_for_any_transfer_syntax(server: Server) -> None:
    (part,) = parts_of(server.get(f"{COMPRESSED.url}/frames/1", accept=f"{related('image/dicom-rle', '*')}"))
    assert part.kind == "image/dicom-rle"
    assert part.syntax == RLE


@bulk.that("8.7.8")
def frames_in_a_media_type_that_cannot_be_made_are_406(server: Server) -> None:
    assert server.get(f"{CT.url}/frames/1", accept=related("image/jls")).status_code == 406


@bulk.that("8.6.1.1")
def one_frame_without_multipart(server: Server) -> None:
    answer = server.get(f"{CT.url}/frames/1", accept=OCTETS)
    assert answer.headers["content-type"].partition(";")[0] == OCTETS
    assert answer.content == pixels(2).tobytes()


@bulk.that("8.6.1.2")
def each_frame_has_its_content_location(server: Server) -> None:
    parts = parts_of(server.get(f"{SEVERAL.url}/frames/2,3", accept=NATIVE_PARTS))
    expected = [f"{server.base}{SEVERAL.url}/frames/{number}" for number in (2, 3)]
    assert [part.headers["content-location"] for part in parts] == expected


@bulk.that("8.6.1.2")
def each_native_frame_has_its_content_length(server: Server) -> None:
    for part in parts_of(server.get(f"{SEVERAL.url}/frames/2,3", accept=NATIVE_PARTS)):
        assert int(part.headers["content-length"]) == len(part.content)


@bulk.that("10.4.1.1.2")
def pixel_data_is_bulk_data_in_metadata(server: Server) -> None:
    assert server.get(bulk_uri(server), accept=NATIVE_PARTS).status_code == 200


@bulk.that("10.4.1.1.1")
def the_bulk_data_of_a_uri(server: Server) -> None:
    (part,) = parts_of(server.get(bulk_uri(server), accept=NATIVE_PARTS))
    assert part.content == pixels(2).tobytes()


@bulk.that("8.6.1.1")
def the_bulk_data_of_a_uri_without_multipart(server: Server) -> None:
    answer = server.get(bulk_uri(server), accept=OCTETS)
    assert answer.headers["content-type"].partition(";")[0] == OCTETS
    assert answer.content == pixels(2).tobytes()


@bulk.that("10.4.3.1")
def bulk_data_that_is_not_there_is_404(server: Server) -> None:
    assert server.get(f"{CT.url}/bulkdata/00420011", accept=OCTETS).status_code == 404


@bulk.that("10.4.1.1.5")
def all_bulk_data_of_study_series_and_instance(server: Server) -> None:
    for path, numbers in ((CT.study, (1, 2, 3, 9)), (CT.series, (1, 2, 3)), (CT.url, (2,))):
        parts = parts_of(server.get(f"{path}/bulkdata", accept=NATIVE_PARTS))
        contents = {part.content for part in parts}
        assert {pixels(number).tobytes() for number in numbers} <= contents
        assert all(part.headers["content-location"].startswith(f"{server.base}{CT.study}/") for part in parts)


@bulk.that("10.4.4")
def bulk_data_of_study_series_and_instance_by_its_media_type(server: Server) -> None:
    for path, number in ((CT.study, 4), (CT.series, 3), (CT.url, 1)):
        parts = parts_of(server.get(path, accept=NATIVE_PARTS))
        assert {part.kind for part in parts} == {OCTETS}
        assert sum(len(part.content) == len(pixels(1).tobytes()) for part in parts) == number


@bulk.that("10.4.1.1.6")
def all_pixel_data_of_study_series_and_instance(server: Server) -> None:
    for path, numbers in ((CT.study, (1, 2, 3, 9)), (CT.series, (1, 2, 3)), (CT.url, (2,))):
        parts = parts_of(server.get(f"{path}/pixeldata", accept=NATIVE_PARTS))
        assert sorted(part.content for part in parts) == sorted(pixels(number).tobytes() for number in numbers)


@bulk.that("8.4.3")
def a_range_of_bulk_data_is_206(server: Server) -> None:
    answer = server.get(bulk_uri(server), accept=OCTETS, Range="bytes=100-199")
    assert answer.status_code == 206
    size = len(pixels(2).tobytes())
    assert answer.headers["content-range"] == f"bytes 100-199/{size}"
    assert answer.content == pixels(2).tobytes()[100:200]


@bulk.that("8.4.3")
def a_range_behind_the_end_is_416_with_the_length(server: Server) -> None:
    size = len(pixels(2).tobytes())
    answer = server.get(bulk_uri(server), accept=OCTETS, Range=f"bytes={size}-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{size}"


@bulk.that("8.4.3")
def a_range_of_an_instance_as_stored_is_206(server: Server) -> None:
    answer = server.get(CT.url, accept=f"{DICOM}; transfer-syntax=*", Range="bytes=128-131")
    assert (answer.status_code, answer.content) == (206, b"DICM")


@bulk.that("8.5")
def what_a_client_has_is_304_without_content(server: Server) -> None:
    tag = server.get(f"{CT.url}/metadata").headers["etag"]
    answer = server.get(f"{CT.url}/metadata", If_None_Match=tag)
    assert (answer.status_code, answer.content) == (304, b"")
    other = server.get(f"{BY_LABEL['A1.1'].url}/metadata", If_None_Match=tag)
    assert other.status_code == 200


@bulk.that("RFC 9110 9.3.2")
def head_answers_as_get_without_content(server: Server) -> None:
    got = server.get(f"{CT.url}/metadata")
    answer = server.ask("HEAD", f"{CT.url}/metadata")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == got.headers["content-type"]


@bulk.that("8.4.1")
def json_is_compressed_for_who_accepts_gzip(server: Server) -> None:
    request = server.client.build_request("GET", f"{server.base}{CT.series}/metadata")
    request.headers["Accept-Encoding"] = "gzip"
    answer = server.client.send(request, stream=True)
    raw = b"".join(answer.iter_raw())
    answer.close()
    server.last = answer
    assert answer.headers["content-encoding"] == "gzip"
    assert b"CONF-1" in gzip.decompress(raw)


@bulk.that("8.4.2")
def nothing_is_compressed_unasked(server: Server) -> None:
    answer = server.get(f"{CT.series}/metadata", accept_encoding="identity")
    assert "content-encoding" not in answer.headers
    assert len(results(answer)) == 3


@bulk.that("8.4.3")
def an_answer_has_a_length_or_is_chunked(server: Server) -> None:
    for path, accept in ((CT.series, related(DICOM)), (f"{CT.url}/metadata", "*/*"), (f"{CT.url}/frames/1", "*/*")):
        fields = server.get(path, accept=accept).headers
        assert int(fields.get("content-length", -1)) > 0 or fields["transfer-encoding"] == "chunked"


@bulk.that("8.7.3.3")
def native_pixels_are_little_endian_explicit(server: Server) -> None:
    (part,) = parts_of(server.get(f"{CT.url}/frames/1", accept=related(OCTETS, EXPLICIT)))
    assert part.content == pixels(2).tobytes()
    assert part.syntax in {"", EXPLICIT}


@bulk.that("10.4.1.1.2")
def small_values_are_in_the_metadata(server: Server) -> None:
    (found,) = results(server.get(f"{CT.url}/metadata"))
    assert values(found, "00280010") == [48]


test_this_archive, test_orthanc = bulk.tests()
