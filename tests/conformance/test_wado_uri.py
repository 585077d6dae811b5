"""The URI service (WADO-URI), as a checklist of PS3.18 chapter 9."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pydicom

from tests.conformance.pictures import picture
from tests.conformance.samples import BY_LABEL, COLUMNS, FRAMES, NOWHERE, ROWS, Sample, pixels
from tests.conformance.support import DICOM, EXPLICIT, JPEG, PNG, RLE, Checklist, Server

uri = Checklist("9 URI service (WADO-URI)")

CT, SEVERAL, COMPRESSED, REPORT = BY_LABEL["A1.2"], BY_LABEL["B1.1"], BY_LABEL["C1.1"], BY_LABEL["C3.1"]


def ask(server: Server, sample: Sample, accept: str = "*/*", **parameters: str) -> httpx.Response:
    """Ask for an instance; a parameter that is empty is left out, as are the required ones then."""
    found = sample.data_set
    asked = {
        "requestType": "WADO",
        "studyUID": str(found.StudyInstanceUID),
        "seriesUID": str(found.SeriesInstanceUID),
        "objectUID": str(found.SOPInstanceUID),
    } | parameters
    base = server.base if server.name == "archive" else server.base.removesuffix("/dicom-web")
    return server.get(f"{base}/wado", {name: value for name, value in asked.items() if value}, accept=accept)


def data_set(answer: httpx.Response) -> pydicom.Dataset:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == DICOM
    return pydicom.dcmread(io.BytesIO(answer.content))


@uri.that("9.3")
def a_jpeg_unless_asked_otherwise(server: Server) -> None:
    assert picture(ask(server, CT), JPEG).shape == (ROWS, COLUMNS)


@uri.that("9.3")
def a_jpeg_of_an_image_of_several_frames(server: Server) -> None:
    assert picture(ask(server, SEVERAL), JPEG).shape == (ROWS, COLUMNS)


@uri.that("9.1.2.1.1")
def without_its_request_type_400(server: Server) -> None:
    assert ask(server, CT, requestType="").status_code == 400


@uri.that("9.1.2.1.1")
def another_request_type_is_400(server: Server) -> None:
    assert ask(server, CT, requestType="FIND").status_code == 400


@uri.that("9.4.2.2")
def without_a_study_400(server: Server) -> None:
    assert ask(server, CT, studyUID="").status_code == 400


@uri.that("9.4.2.2")
def without_a_series_400(server: Server) -> None:
    assert ask(server, CT, seriesUID="").status_code == 400


@uri.that("9.4.2.2")
def without_an_instance_400(server: Server) -> None:
    assert ask(server, CT, objectUID="").status_code == 400


@uri.that("9.4.3.1")
def an_instance_that_is_not_there_is_404(server: Server) -> None:
    assert ask(server, CT, objectUID=NOWHERE).status_code == 404


@uri.that("9.4")
def an_instance_as_dicom(server: Server) -> None:
    assert data_set(ask(server, CT, contentType=DICOM)).PixelData == pixels(2).tobytes()


@uri.that("9.1.2.2.1")
def dicom_by_the_accept_field(server: Server) -> None:
    assert data_set(ask(server, CT, accept=DICOM)).PixelData == pixels(2).tobytes()


@uri.that("9.4.2.4")
def explicit_vr_little_endian_of_a_compressed_instance(server: Server) -> None:
    found = data_set(ask(server, COMPRESSED, contentType=DICOM))
    assert found.file_meta.TransferSyntaxUID == EXPLICIT
    assert found.PixelData == pixels(5).tobytes()


@uri.that("9.4.2.4")
def another_transfer_syntax_by_its_uid(server: Server) -> None:
    found = data_set(ask(server, COMPRESSED, contentType=DICOM, transferSyntax=RLE))
    assert found.file_meta.TransferSyntaxUID == RLE


@uri.that("9.4.2.4")
def a_transfer_syntax_that_is_no_uid_is_400(server: Server) -> None:
    assert ask(server, CT, contentType=DICOM, transferSyntax="fast").status_code == 400


@uri.that("9.4.2.4")
def a_transfer_syntax_of_an_instance_that_cannot_be_made_is_406(server: Server) -> None:
    answer = ask(server, CT, contentType=DICOM, transferSyntax="1.2.840.10008.1.2.4.100")
    assert answer.status_code == 406


@uri.that("9.1.2.2.1")
def a_transfer_syntax_within_the_content_type_is_400(server: Server) -> None:
    assert ask(server, CT, contentType=f"{DICOM};transfer-syntax={RLE}").status_code == 400


@uri.that("9.1.2.2.1")
def dicom_and_a_rendered_type_are_400(server: Server) -> None:
    assert ask(server, CT, contentType=f"{DICOM},{JPEG}").status_code == 400


@uri.that("8.7.4")
def png_by_its_content_type(server: Server) -> None:
    assert picture(ask(server, CT, contentType=PNG)).shape == (ROWS, COLUMNS)


@uri.that("9.1.2.2.1")
def of_several_content_types_the_one_of_the_greatest_weight(server: Server) -> None:
    assert picture(ask(server, CT, contentType=f"{JPEG};q=0.3,{PNG};q=0.9")).shape == (ROWS, COLUMNS)


@uri.that("8.7.5")
def a_content_type_that_cannot_be_made_is_406(server: Server) -> None:
    assert ask(server, CT, contentType="video/mp4", accept="video/*").status_code == 406


@uri.that("9.5.1.2.6")
def a_window(server: Server) -> None:
    shown = picture(ask(server, CT, contentType=PNG, windowCenter="1000", windowWidth="400"))
    expected = np.clip(((pixels(2).astype(np.float64) - 999.5) / 399 + 0.5) * 255, 0, 255)
    assert np.abs(shown - expected).max() <= 1


@uri.that("9.5.2.2")
def half_a_window_is_400(server: Server) -> None:
    assert ask(server, CT, windowCenter="1000").status_code == 400
    assert ask(server, CT, windowWidth="400").status_code == 400


@uri.that("9.5.2.2")
def a_window_that_is_no_number_is_400(server: Server) -> None:
    assert ask(server, CT, windowCenter="high", windowWidth="400").status_code == 400


@uri.that("9.5.1.2.6")
def a_window_with_dicom_is_400(server: Server) -> None:
    assert ask(server, CT, contentType=DICOM, windowCenter="1000", windowWidth="400").status_code == 400


@uri.that("9.5.2.5")
def rows_and_columns_are_the_most_there_may_be(server: Server) -> None:
    assert picture(ask(server, CT, contentType=PNG, rows="100", columns="32")).shape == (24, 32)


@uri.that("9.5.2.5")
def rows_or_columns_alone_keep_the_proportions(server: Server) -> None:
    assert picture(ask(server, CT, contentType=PNG, rows="24")).shape == (24, 32)
    assert picture(ask(server, CT, contentType=PNG, columns="128")).shape == (96, 128)


@uri.that("9.5.1.2.4")
def rows_that_are_no_number_are_400(server: Server) -> None:
    assert ask(server, CT, rows="0", columns="10").status_code == 400
    assert ask(server, CT, rows="10", columns="many").status_code == 400


@uri.that("9.5.2.4")
def a_region_in_parts_of_the_image(server: Server) -> None:
    whole = picture(ask(server, CT, contentType=PNG))
    shown = picture(ask(server, CT, contentType=PNG, region="0.5,0,1,0.5"))
    assert np.abs(shown - whole[: ROWS // 2, COLUMNS // 2 :]).max() <= 1


@uri.that("9.5.2.4")
def a_wrong_region_is_400(server: Server) -> None:
    for wrong in ("0,0,1", "0,0,1,1,1", "0.5,0,0.5,1", "0,0,1,1.5", "a,b,c,d"):
        assert ask(server, CT, region=wrong).status_code == 400, wrong


@uri.that("9.5.2.1")
def a_frame_by_its_number(server: Server) -> None:
    greys = [picture(ask(server, SEVERAL, contentType=PNG, frameNumber=str(n)))[-1, -1] for n in (1, 2, FRAMES)]
    assert greys[0] < greys[1] < greys[2]


@uri.that("9.5.2.1")
def a_frame_that_is_not_there_is_400(server: Server) -> None:
    for wrong in ("0", str(FRAMES + 1), "two", "1,2"):
        assert ask(server, SEVERAL, frameNumber=wrong).status_code == 400, wrong


@uri.that("9.5.2.1")
def a_frame_of_an_image_of_one_frame_is_400(server: Server) -> None:
    assert ask(server, CT, frameNumber="1").status_code == 400


@uri.that("9.5.1.2.3")
def the_quality(server: Server) -> None:
    sizes = [len(ask(server, CT, imageQuality=value).content) for value in ("5", "100")]
    assert sizes[0] < sizes[1]


@uri.that("9.5.1.2.3")
def a_wrong_quality_of_an_image_is_400(server: Server) -> None:
    assert ask(server, CT, imageQuality="0").status_code == 400


@uri.that("9.5.1.2.2")
def an_annotation(server: Server) -> None:
    plain = picture(ask(server, CT, contentType=PNG, rows="384", columns="512"))
    shown = picture(ask(server, CT, contentType=PNG, rows="384", columns="512", imageAnnotation="patient"))
    assert np.abs(shown - plain).max() > 60


@uri.that("9.5.2.3")
def half_a_presentation_state_is_400(server: Server) -> None:
    assert ask(server, CT, presentationSeriesUID=NOWHERE).status_code == 400


@uri.that("9.5.2.3")
def a_presentation_state_that_is_not_there_is_400(server: Server) -> None:
    assert ask(server, CT, presentationSeriesUID=NOWHERE, presentationUID=NOWHERE).status_code == 400


@uri.that("9.4.2.3")
def anonymize_of_another_value_than_yes_is_400(server: Server) -> None:
    assert ask(server, CT, contentType=DICOM, anonymize="perhaps").status_code == 400


@uri.that("9.4.2.3")
def what_is_not_anonymized_is_no_success(server: Server) -> None:
    answer = ask(server, CT, contentType=DICOM, anonymize="yes")
    assert answer.status_code >= 400 or data_set(answer).SOPInstanceUID != CT.data_set.SOPInstanceUID


@uri.that("9.1.2.2.2")
def the_character_set_of_a_picture_may_be_asked_for(server: Server) -> None:
    assert ask(server, CT, charset="utf-8").status_code == 200


@uri.that("8.3.3.2")
def a_charset_that_is_none_is_400(server: Server) -> None:
    assert ask(server, CT, charset="no-such-set").status_code == 400


@uri.that("8.7.4")
def a_report_is_html(server: Server) -> None:
    answer = ask(server, REPORT)
    assert answer.headers["content-type"].partition(";")[0] == "text/html"
    assert "Finding" in answer.text


@uri.that("8.3")
def parameters_that_nobody_knows_are_passed_over(server: Server) -> None:
    assert ask(server, CT, unheard_of="1").status_code == 200


test_this_archive, test_orthanc = uri.tests()
