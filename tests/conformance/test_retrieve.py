"""The retrieve transaction (WADO-RS), as a checklist of PS3.18 10.4 and 8.7: instances and metadata."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

import pydicom

from tests.conformance.samples import BY_LABEL, CREATOR, NOWHERE, SAMPLES, pixels, uid_of
from tests.conformance.support import (
    DICOM,
    EXPLICIT,
    IMPLICIT,
    JSON,
    NATIVE,
    RLE,
    XML,
    Checklist,
    Part,
    Server,
    parts_of,
    related,
    results,
    values,
)

retrieve = Checklist("10.4 Retrieve (WADO-RS): instances and metadata")

CT, MR, COMPRESSED = BY_LABEL["A1.2"], BY_LABEL["A2.1"], BY_LABEL["C1.1"]
MPEG2 = "1.2.840.10008.1.2.4.100"


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def uids(parts: list[Part]) -> list[str]:
    return sorted(str(read(part.content).SOPInstanceUID) for part in parts)


@retrieve.that("10.4.1.1.1")
def a_study_is_a_part_for_each_instance(server: Server) -> None:
    parts = parts_of(server.get(CT.study, accept=related(DICOM)))
    assert uids(parts) == [uid_of(label) for label in ("A1.1", "A1.2", "A1.3", "A2.1")]


@retrieve.that("10.4.1.1.1")
def a_series_is_a_part_for_each_instance(server: Server) -> None:
    parts = parts_of(server.get(CT.series, accept=related(DICOM)))
    assert uids(parts) == [uid_of(label) for label in ("A1.1", "A1.2", "A1.3")]


@retrieve.that("10.4.1.1.1")
def an_instance_is_one_part(server: Server) -> None:
    (part,) = parts_of(server.get(CT.url, accept=related(DICOM)))
    assert read(part.content).PixelData == pixels(2).tobytes()


@retrieve.that("8.6.1.1")
def an_instance_without_multipart(server: Server) -> None:
    answer = server.get(CT.url, accept=DICOM)
    assert answer.headers["content-type"].partition(";")[0] == DICOM
    assert read(answer.content).SOPInstanceUID == uid_of("A1.2")


@retrieve.that("8.6.1.2.1")
def the_boundary_is_one_that_rfc_2046_allows(server: Server) -> None:
    field = server.get(CT.url, accept=related(DICOM)).headers["content-type"]
    found = re.search(r'boundary=(?:"([^"]+)"|([^;\s]+))', field)
    assert found
    assert re.fullmatch(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", found[1] or found[2])


@retrieve.that("8.7.1")
def the_type_of_the_parts_is_named_in_quotes(server: Server) -> None:
    assert f'type="{DICOM}"' in server.get(CT.url, accept=related(DICOM)).headers["content-type"]


@retrieve.that("8.6.1.2")
def each_part_has_its_content_type(server: Server) -> None:
    assert {part.kind for part in parts_of(server.get(CT.study, accept=related(DICOM)))} == {DICOM}


@retrieve.that("8.6.1.2")
def each_part_has_its_content_location(server: Server) -> None:
    parts = parts_of(server.get(CT.series, accept=related(DICOM)))
    locations = {part.headers["content-location"] for part in parts}
    assert locations == {f"{server.base}{BY_LABEL[f'A1.{number}'].url}" for number in (1, 2, 3)}


@retrieve.that("8.6.1.2")
def each_part_of_stored_instances_has_its_content_length(server: Server) -> None:
    for part in parts_of(server.get(CT.series, accept=related(DICOM))):
        assert int(part.headers["content-length"]) == len(part.content)


@retrieve.that("8.7.3.4")
def explicit_vr_little_endian_unless_asked_otherwise(server: Server) -> None:
    (part,) = parts_of(server.get(COMPRESSED.url, accept=related(DICOM)))
    found = read(part.content)
    assert found.file_meta.TransferSyntaxUID == EXPLICIT
    assert found.PixelData == pixels(5).tobytes()


@retrieve.that("8.7.3.5.2")
def any_transfer_syntax_may_be_the_stored_one(server: Server) -> None:
    (part,) = parts_of(server.get(COMPRESSED.url, accept=related(DICOM, "*")))
    assert read(part.content).file_meta.TransferSyntaxUID == RLE


@retrieve.that("8.7.3.5.2")
def a_transfer_syntax_by_its_uid(server: Server) -> None:
    (part,) = parts_of(server.get(COMPRESSED.url, accept=related(DICOM, RLE)))
    assert read(part.content).file_meta.TransferSyntaxUID == RLE
    (part,) = parts_of(server.get(COMPRESSED.url, accept=related(DICOM, EXPLICIT)))
    assert read(part.content).PixelData == pixels(5).tobytes()


@retrieve.that("8.7.9")
def the_transfer_syntax_is_told_by_each_part(server: Server) -> None:
    (part,) = parts_of(server.get(COMPRESSED.url, accept=related(DICOM, "*")))
    assert part.syntax in {"", read(part.content).file_meta.TransferSyntaxUID}
    assert part.syntax == RLE


@retrieve.that("8.7.3.5.2")
def of_several_transfer_syntaxes_one_that_is_supported(server: Server) -> None:
    accept = f"{related(DICOM, MPEG2)}, {related(DICOM, RLE)}; q=0.5"
    (part,) = parts_of(server.get(COMPRESSED.url, accept=accept))
    assert read(part.content).file_meta.TransferSyntaxUID == RLE


@retrieve.that("8.7.8")
def a_transfer_syntax_that_cannot_be_made_is_406(server: Server) -> None:
    assert server.get(CT.url, accept=related(DICOM, MPEG2)).status_code == 406


@retrieve.that("8.7.3")
def implicit_vr_little_endian_is_not_to_be_had(server: Server) -> None:
    assert server.get(CT.url, accept=related(DICOM, IMPLICIT)).status_code == 406


@retrieve.that("8.7.8.1")
def a_media_type_that_cannot_be_made_is_406(server: Server) -> None:
    assert server.get(CT.study, accept="text/plain").status_code == 406


@retrieve.that("8.5")
def a_406_tells_what_there_is(server: Server) -> None:
    answer = server.get(CT.study, accept="text/plain")
    assert answer.status_code == 406
    assert DICOM in answer.text


@retrieve.that("8.7.7")
def any_type_is_the_default_one(server: Server) -> None:
    assert {part.kind for part in parts_of(server.get(CT.series, accept="*/*"))} == {DICOM}


@retrieve.that("8.7.5")
def without_an_accept_field_406(server: Server) -> None:
    assert server.get(CT.series, accept=None).status_code == 406


@retrieve.that("8.7.8.1")
def the_type_of_the_greater_weight(server: Server) -> None:
    accept = f"{JSON}; q=0.2, {related(XML)}; q=0.9"
    assert {part.kind for part in parts_of(server.get(f"{CT.url}/metadata", accept=accept))} == {XML}


@retrieve.that("8.7.8.1")
def a_weight_of_zero_is_a_refusal(server: Server) -> None:
    assert server.get(f"{CT.url}/metadata", accept=f"{JSON}; q=0").status_code == 406


@retrieve.that("8.3.3.1")
def the_accept_parameter_stands_before_the_field(server: Server) -> None:
    answer = server.get(f"{CT.url}/metadata", {"accept": JSON}, accept=f"{related(XML)}, {JSON}; q=0.1")
    assert len(results(answer)) == 1


@retrieve.that("8.7.8.1")
def an_accept_parameter_of_nothing_supported_leaves_the_field(server: Server) -> None:
    assert len(results(server.get(f"{CT.url}/metadata", {"accept": "text/plain"}, accept=JSON))) == 1


@retrieve.that("8.3")
def unknown_parameters_are_passed_over(server: Server) -> None:
    assert len(results(server.get(f"{CT.url}/metadata", {"unheard_of": "1"}))) == 1


@retrieve.that("10.4.3.1")
def what_is_not_there_is_404(server: Server) -> None:
    for path in (
        f"/studies/{NOWHERE}",
        f"{CT.study}/series/{NOWHERE}",
        f"{CT.series}/instances/{NOWHERE}",
    ):
        assert server.get(path, accept=related(DICOM)).status_code == 404
        assert server.get(f"{path}/metadata").status_code == 404


@retrieve.that("10.4.3.1")
def an_instance_of_another_series_is_404(server: Server) -> None:
    assert server.get(f"{CT.series}/instances/{uid_of('A2.1')}", accept=related(DICOM)).status_code == 404


@retrieve.that("10.4.1.1.2")
def metadata_of_study_series_and_instance(server: Server) -> None:
    for path, number in ((CT.study, 4), (CT.series, 3), (CT.url, 1)):
        found = results(server.get(f"{path}/metadata"))
        assert len(found) == number
        assert {values(each, "0020000D")[0] for each in found} == {uid_of("A")}


@retrieve.that("10.4.4")
def metadata_is_json_unless_asked_otherwise(server: Server) -> None:
    assert len(results(server.get(f"{CT.series}/metadata", accept="*/*"))) == 3


@retrieve.that("10.4.4")
def metadata_as_xml_in_parts(server: Server) -> None:
    parts = parts_of(server.get(f"{CT.series}/metadata", accept=related(XML)))
    assert {part.kind for part in parts} == {XML}
    found = [ET.fromstring(part.content) for part in parts]
    assert {root.tag for root in found} == {f"{{{NATIVE['dicom']}}}NativeDicomModel"}
    names = [root.findtext(".//dicom:PersonName/dicom:Ideographic/dicom:FamilyName", "", NATIVE) for root in found]
    assert names == ["山田"] * 3


def _expected(ds: pydicom.Dataset) -> dict[str, str]:
    return {f"{element.tag:08X}": element.VR for element in ds if element.tag.element}


def _vrs(found: dict[str, Any]) -> dict[str, str]:
    return {tag: field["vr"] for tag, field in found.items()}


@retrieve.that("10.4.1.1.2")
def metadata_has_every_attribute_in_its_vr(server: Server) -> None:
    for sample in SAMPLES:
        (found,) = results(server.get(f"{sample.url}/metadata"))
        expected = _expected(sample.data_set)
        assert {tag: vr for tag, vr in _vrs(found).items() if tag in expected} == expected


@retrieve.that("F.2")
def values_of_every_vr_in_json(server: Server) -> None:
    (found,) = results(server.get(f"{BY_LABEL['C2.1'].url}/metadata"))
    block = next(tag for tag, field in found.items() if tag[:6] == "003100" and field.get("Value") == [CREATOR])
    own = {field["vr"]: field for tag, field in found.items() if tag[:6] == f"0031{block[6:]}"}
    for vr, value in {"IS": -7, "DS": 1.5, "FD": 1.5, "FL": -2.5, "SL": -70000, "US": 7, "AT": "00100010"}.items():
        assert own[vr]["Value"] == [value]
    assert own["PN"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert own["SQ"]["Value"][0]["00080100"]["Value"] == ["inner"]
    assert int(own["UV"]["Value"][0]) == 2**40
    assert int(own["SV"]["Value"][0]) == -(2**40)
    assert all({"InlineBinary", "BulkDataURI"} & set(own[vr]) for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "UN"))


@retrieve.that("F.2.5")
def an_attribute_without_a_value_has_no_value_in_json(server: Server) -> None:
    (found,) = results(server.get(f"{BY_LABEL['B1.1'].url}/metadata"))
    assert found["00100030"] == {"vr": "DA"}


@retrieve.that("Sup 211")
def a_study_as_zip(server: Server) -> None:
    answer = server.get(CT.study, accept="application/zip")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = sorted(str(read(archive.read(name)).SOPInstanceUID) for name in archive.namelist())
    assert found == [uid_of(label) for label in ("A1.1", "A1.2", "A1.3", "A2.1")]


test_this_archive, test_orthanc = retrieve.tests()
