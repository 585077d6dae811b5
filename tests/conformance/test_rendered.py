"""Rendered resources and thumbnails, as a checklist of PS3.18 8.3.5, 8.7.4 and 10.4.1.1.3 to 10.4.1.1.4."""

from __future__ import annotations

import numpy as np

from tests.conformance.pictures import opened, picture
from tests.conformance.samples import BY_LABEL, COLUMNS, DOCUMENTS, FRAMES, NOWHERE, ROWS, pixels
from tests.conformance.support import DICOM, GIF, JPEG, PNG, Checklist, Part, Server, parts_of, related

rendered = Checklist("8.3.5 Rendered resources and thumbnails")

CT, SEVERAL, COMPRESSED, REPORT = BY_LABEL["A1.2"], BY_LABEL["B1.1"], BY_LABEL["C1.1"], BY_LABEL["C3.1"]


def is_picture(part: Part, kind: str) -> bool:
    return bool(picture(part, kind).shape == (ROWS, COLUMNS))


@rendered.that("10.4.1.1.3")
def an_instance_is_a_jpeg(server: Server) -> None:
    answer = server.get(f"{CT.url}/rendered", accept=JPEG)
    assert picture(answer, JPEG).shape == (ROWS, COLUMNS)


@rendered.that("8.7.4")
def jpeg_is_the_default(server: Server) -> None:
    assert picture(server.get(f"{CT.url}/rendered", accept="*/*"), JPEG).shape == (ROWS, COLUMNS)


@rendered.that("8.7.4")
def jpeg_is_baseline_with_8_bits(server: Server) -> None:
    content = server.get(f"{CT.url}/rendered", accept=JPEG).content
    assert b"\xff\xc0" in content
    assert content[content.index(b"\xff\xc0") + 4] == 8


@rendered.that("8.7.4")
def png_can_be_asked_for(server: Server) -> None:
    assert picture(server.get(f"{CT.url}/rendered", accept=PNG)).shape == (ROWS, COLUMNS)


@rendered.that("8.7.4")
def gif_can_be_asked_for(server: Server) -> None:
    assert picture(server.get(f"{CT.url}/rendered", accept=GIF), GIF).shape == (ROWS, COLUMNS)


@rendered.that("8.3.3.1")
def the_accept_parameter_decides(server: Server) -> None:
    answer = server.get(f"{CT.url}/rendered", {"accept": PNG}, accept="image/*")
    assert picture(answer).shape == (ROWS, COLUMNS)


@rendered.that("8.7.8.1")
def the_most_specific_range_has_the_weight(server: Server) -> None:
    answer = server.get(f"{CT.url}/rendered", accept=f"image/*, {JPEG}; q=0.1, {GIF}; q=0.1")
    assert picture(answer).shape == (ROWS, COLUMNS)


@rendered.that("8.7.5")
def dicom_and_rendered_types_in_one_request_are_400(server: Server) -> None:
    assert server.get(f"{CT.url}/rendered", accept=f"{JPEG}, {DICOM}").status_code == 400


@rendered.that("8.7.8.1")
def a_media_type_that_is_no_picture_is_406(server: Server) -> None:
    assert server.get(f"{CT.url}/rendered", accept=DICOM).status_code == 406


@rendered.that("10.4.1.1.3")
def each_frame_by_its_number(server: Server) -> None:
    shown = [picture(server.get(f"{SEVERAL.url}/frames/{number}/rendered", accept=PNG)) for number in (1, 2, FRAMES)]
    assert shown[0][-1, -1] < shown[1][-1, -1] < shown[2][-1, -1]


@rendered.that("10.4.1.1.3")
def several_frames_are_parts(server: Server) -> None:
    parts = parts_of(server.get(f"{SEVERAL.url}/frames/1,3/rendered", accept=related(JPEG)))
    assert [is_picture(part, JPEG) for part in parts] == [True, True]


@rendered.that("10.4.1.1.3")
def a_series_is_a_part_for_each_image(server: Server) -> None:
    parts = parts_of(server.get(f"{CT.series}/rendered", accept=related(JPEG)))
    assert [is_picture(part, JPEG) for part in parts] == [True] * 3


@rendered.that("10.4.1.1.3")
def a_study_is_a_part_for_each_image(server: Server) -> None:
    parts = parts_of(server.get(f"{CT.study}/rendered", accept=related(PNG)))
    assert [is_picture(part, PNG) for part in parts] == [True] * 4


@rendered.that("8.6.1.2")
def each_rendered_part_has_its_content_location(server: Server) -> None:
    parts = parts_of(server.get(f"{CT.series}/rendered", accept=related(JPEG)))
    expected = {f"{server.base}{BY_LABEL[f'A1.{number}'].url}/rendered" for number in (1, 2, 3)}
    assert {part.headers["content-location"] for part in parts} == expected


@rendered.that("8.7.4")
def an_image_of_several_frames_is_an_animation(server: Server) -> None:
    answer = server.get(f"{SEVERAL.url}/rendered", accept=GIF)
    assert answer.headers["content-type"] == GIF
    assert getattr(opened(answer.content), "n_frames", 1) == FRAMES


@rendered.that("10.4.1.1.3")
def a_compressed_image_is_shown(server: Server) -> None:
    shown = picture(server.get(f"{COMPRESSED.url}/rendered", accept=PNG))
    assert shown[0, 0] < shown[0, -1]


@rendered.that("10.4.1.1.3")
def the_window_of_the_image_unless_another_is_asked_for(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/rendered", accept=PNG))
    assert np.abs(shown - pixels(2).astype(np.float64) * 255 / 4095).max() <= 1


@rendered.that("8.3.5.1.4")
def a_window_of_function_linear(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/rendered", {"window": "1000,400,linear"}, accept=PNG))
    values = pixels(2).astype(np.float64)
    expected = np.clip(((values - 999.5) / 399 + 0.5) * 255, 0, 255)
    assert np.abs(shown - expected).max() <= 1


@rendered.that("8.3.5.1.4")
def a_window_of_function_linear_exact(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/rendered", {"window": "1000,400,linear-exact"}, accept=PNG))
    expected = np.clip(((pixels(2).astype(np.float64) - 1000) / 400 + 0.5) * 255, 0, 255)
    assert np.abs(shown - expected).max() <= 1


@rendered.that("8.3.5.1.4")
def a_window_of_function_sigmoid(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/rendered", {"window": "2000,1000,sigmoid"}, accept=PNG))
    expected = 255 / (1 + np.exp(-4 * (pixels(2).astype(np.float64) - 2000) / 1000))
    assert np.abs(shown - expected).max() <= 2


def _wrong(name: str, parameter: str, *wrong: str, resource: str = "rendered", section: str) -> None:
    def run(server: Server) -> None:
        for value in wrong:
            answer = server.get(f"{CT.url}/{resource}", {parameter: value}, accept=JPEG)
            assert answer.status_code == 400, f"{parameter}={value}: {answer.status_code}"

    rendered.add(section, name, run)


_wrong("a_wrong_window_is_400", "window", "1000", "a,b,linear", "1000,400,cubic", "1000,,linear", "1000,0,linear",
       section="8.3.5.1.4")  # fmt: skip
_wrong("a_window_without_its_function_is_400", "window", "1000,400", section="8.3.5.1.4")
_wrong("a_wrong_viewport_is_400", "viewport", "100", "0,100", "a,b", "-5,5", "1,2,3,4,5,6,7", section="8.3.5.1.3")
_wrong("a_wrong_quality_is_400", "quality", "0", "101", "good", "50.5", section="8.3.5.1.2")
_wrong("a_wrong_annotation_is_400", "annotation", "doctor", "", section="8.3.5.1.1")
_wrong("a_wrong_iccprofile_is_400", "iccprofile", "purple", "", section="8.3.5.1.5")


@rendered.that("8.3.5.1.3")
def a_viewport_keeps_the_proportions(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/rendered", {"viewport": "128,128"}, accept=PNG))
    assert shown.shape == (96, 128)
    assert picture(server.get(f"{CT.url}/rendered", {"viewport": "32,24"}, accept=PNG)).shape == (24, 32)


@rendered.that("8.3.5.1.3")
def a_viewport_of_a_region(server: Server) -> None:
    shown = picture(server.get(f"{SEVERAL.url}/frames/1/rendered", {"viewport": "16,16,0,0,8,8"}, accept=PNG))
    assert shown.shape == (16, 16)
    whole = picture(server.get(f"{SEVERAL.url}/frames/1/rendered", accept=PNG))
    assert shown.min() >= whole[0, 0] - 1 > whole[-1, -1]


@rendered.that("8.3.5.1.3")
def values_of_the_region_may_be_left_out(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/rendered", {"viewport": "32,32,,,32,32"}, accept=PNG))
    assert shown.shape == (32, 32)
    assert abs(shown[0, 0] - picture(server.get(f"{CT.url}/rendered", accept=PNG))[0, 0]) <= 1


@rendered.that("8.3.5.1.3")
def a_negative_width_or_height_flips(server: Server) -> None:
    whole = picture(server.get(f"{CT.url}/rendered", accept=PNG))
    viewport = f"{COLUMNS},{ROWS},0,0,-{COLUMNS},{ROWS}"
    assert (
        np.abs(picture(server.get(f"{CT.url}/rendered", {"viewport": viewport}, accept=PNG)) - whole[:, ::-1]).max()
        <= 1
    )
    viewport = f"{COLUMNS},{ROWS},0,0,{COLUMNS},-{ROWS}"
    assert (
        np.abs(picture(server.get(f"{CT.url}/rendered", {"viewport": viewport}, accept=PNG)) - whole[::-1]).max() <= 1
    )


@rendered.that("8.3.5.1.2")
def a_lower_quality_is_a_smaller_jpeg(server: Server) -> None:
    sizes = [len(server.get(f"{CT.url}/rendered", {"quality": value}, accept=JPEG).content) for value in ("5", "100")]
    assert sizes[0] < sizes[1]


@rendered.that("8.3.5.1.1")
def annotation_is_burned_in(server: Server) -> None:
    large = {"viewport": "512,384"}
    plain = picture(server.get(f"{CT.url}/rendered", large, accept=PNG))
    for what in ("patient", "technique", "patient,technique"):
        shown = picture(server.get(f"{CT.url}/rendered", large | {"annotation": what}, accept=PNG))
        assert shown.shape == plain.shape
        assert np.abs(shown - plain).max() > 60, what


@rendered.that("8.3.5.1.5")
def a_profile_is_in_the_picture_if_asked_for(server: Server) -> None:
    for value in ("yes", "srgb"):
        for kind in (JPEG, PNG):
            answer = server.get(f"{CT.url}/rendered", {"iccprofile": value}, accept=kind)
            assert opened(answer.content).info["icc_profile"][36:40] == b"acsp"


@rendered.that("8.3.5.1.5")
def no_profile_is_in_the_picture_if_none_is_asked_for(server: Server) -> None:
    answer = server.get(f"{CT.url}/rendered", {"iccprofile": "no"}, accept=PNG)
    assert picture(answer).shape == (ROWS, COLUMNS)
    assert "icc_profile" not in opened(answer.content).info


@rendered.that("8.3.5.1.5")
def a_profile_in_a_type_that_has_none_is_400(server: Server) -> None:
    assert server.get(f"{CT.url}/rendered", {"iccprofile": "yes"}, accept=GIF).status_code == 400


@rendered.that("8.7.4")
def a_report_is_html_and_plain_text(server: Server) -> None:
    for kind in ("text/html", "text/plain"):
        answer = server.get(f"{REPORT.url}/rendered", accept=kind)
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert "Finding" in answer.text


@rendered.that("8.7.4")
def an_encapsulated_document_is_in_its_own_form(server: Server) -> None:
    for label, kind in (("D1.1", "application/pdf"), ("D2.1", "text/xml")):
        answer = server.get(f"{BY_LABEL[label].url}/rendered", accept=f"{kind}, */*; q=0.1")
        assert answer.headers["content-type"] == kind
        assert answer.content == DOCUMENTS[kind]


@rendered.that("10.4.3.1")
def rendered_of_what_is_not_there_is_404(server: Server) -> None:
    assert server.get(f"{CT.series}/instances/{NOWHERE}/rendered", accept=JPEG).status_code == 404
    assert server.get(f"{SEVERAL.url}/frames/{FRAMES + 1}/rendered", accept=JPEG).status_code == 404


@rendered.that("10.4.1.1.4")
def thumbnails_of_study_series_instance_and_frame(server: Server) -> None:
    for path in (CT.study, CT.series, CT.url, f"{SEVERAL.url}/frames/2"):
        shown = picture(server.get(f"{path}/thumbnail", accept=JPEG), JPEG)
        assert 0.7 < shown.shape[0] / shown.shape[1] < 0.8


@rendered.that("8.3.5.2")
def a_thumbnail_of_a_size(server: Server) -> None:
    shown = picture(server.get(f"{CT.url}/thumbnail", {"viewport": "40,40"}, accept=JPEG), JPEG)
    assert shown.shape == (30, 40)


_wrong("a_region_of_a_thumbnail_is_400", "viewport", "40,40,0,0,8,8", resource="thumbnail", section="8.3.5.1.3")


@rendered.that("10.4.1.1.4")
def a_thumbnail_tells_nothing_of_the_patient(server: Server) -> None:
    size = {"viewport": "512,384"}
    plain = picture(server.get(f"{CT.url}/thumbnail", size, accept=PNG))
    shown = picture(server.get(f"{CT.url}/thumbnail", size | {"annotation": "patient"}, accept=PNG))
    assert np.abs(shown - plain).max() == 0


test_this_archive, test_orthanc = rendered.tests()
