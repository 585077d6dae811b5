"""The store transaction, as a checklist of PS3.18 10.5 and Annex I.2."""

from __future__ import annotations

import io
import json
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pydicom
from pydicom.uid import generate_uid

from tests.conformance.support import DICOM, JSON, NATIVE, XML, Checklist, Server
from tests.support.real_files import real_file


class Instance:
    """A real file under UIDs of its own."""

    def __init__(self, name: str = "CT_small.dcm", **changes: Any) -> None:
        self.data_set = pydicom.dcmread(real_file(name))
        self.data_set.StudyInstanceUID, self.data_set.SOPInstanceUID = generate_uid(), generate_uid()
        for keyword, value in changes.items():
            setattr(self.data_set, keyword, value)
        self.data_set.file_meta.MediaStorageSOPInstanceUID = self.data_set.SOPInstanceUID
        self.data_set.file_meta.MediaStorageSOPClassUID = self.data_set.SOPClassUID
        self.study, self.uid = str(self.data_set.StudyInstanceUID), str(self.data_set.SOPInstanceUID)

    @property
    def file(self) -> bytes:
        out = io.BytesIO()
        self.data_set.save_as(out)
        return out.getvalue()

    @property
    def metadata(self) -> bytes:
        return json.dumps([self.data_set.to_json_dict(1024, lambda element: f"{self.uid}/{element.tag:08X}")]).encode()

    @property
    def bulk(self) -> list[tuple[dict[str, str], bytes]]:
        return [
            ({"Content-Type": "application/octet-stream", "Content-Location": f"{self.uid}/{each.tag:08X}"}, each.value)
            for each in self.data_set
            if each.VR in {"OB", "OW"} and len(each.value) > 1024
        ]


def referenced(answer: httpx.Response) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.json().get("00081199", {}).get("Value", [])]


def failed(answer: httpx.Response) -> dict[str, int]:
    items = answer.json().get("00081198", {}).get("Value", [])
    return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in items}


store = Checklist("10.5 Store (STOW-RS)")


@store.that("10.5.3")
def all_stored_is_200(server: Server) -> None:
    first, second = Instance(), Instance("MR_small.dcm")
    answer = server.files(first.file, second.file)
    assert answer.status_code == 200
    assert set(referenced(answer)) == {first.uid, second.uid}
    assert failed(answer) == {}


@store.that("10.5.3")
def some_stored_is_202(server: Server) -> None:
    good = Instance()
    answer = server.files(good.file, b"no instance" * 50)
    assert answer.status_code == 202
    assert referenced(answer) == [good.uid]


@store.that("10.5.3")
def none_stored_is_409(server: Server) -> None:
    bad = Instance(StudyInstanceUID="1.2.3")
    answer = server.files(bad.file, study="1.2.4")
    assert answer.status_code == 409
    assert list(failed(answer)) == [bad.uid]


@store.that("10.5.3")
def bad_syntax_is_400(server: Server) -> None:
    assert server.post(b"no multipart", f'multipart/related; type="{DICOM}"; boundary=BB').status_code == 400


@store.that("10.5.3")
def another_media_type_is_415(server: Server) -> None:
    assert server.post(b"x", "text/plain").status_code == 415


@store.that("10.5.1")
def into_the_study_of_the_url(server: Server) -> None:
    instance = Instance()
    answer = server.files(instance.file, study=instance.study)
    assert answer.status_code == 200
    assert referenced(answer) == [instance.uid]


@store.that("10.5.3")
def what_is_of_another_study_fails_alone(server: Server) -> None:
    right, wrong = Instance(), Instance()
    answer = server.files(wrong.file, right.file, study=right.study)
    assert answer.status_code == 202
    assert referenced(answer) == [right.uid]
    assert list(failed(answer)) == [wrong.uid]


@store.that("8.6.1")
def one_instance_without_multipart(server: Server) -> None:
    instance = Instance()
    answer = server.post(instance.file, DICOM)
    assert answer.status_code == 200
    assert referenced(answer) == [instance.uid]


@store.that("8.7.1, F")
def metadata_as_json_with_bulk_data(server: Server) -> None:
    instance = Instance()
    answer = server.parts(({"Content-Type": JSON}, instance.metadata), *instance.bulk, kind=JSON)
    assert answer.status_code == 200
    server.settle()
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    frame = httpx.get(f"{url}/frames/1", headers={"Accept": "application/octet-stream"}, trust_env=False)
    assert frame.content == instance.data_set.PixelData


@store.that("8.7.1, PS3.19 A.1")
def metadata_as_xml_with_bulk_data(server: Server) -> None:
    instance = Instance()
    tags = (
        "SOPClassUID",
        "SOPInstanceUID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "Rows",
        "Columns",
        "BitsAllocated",
    )
    text = "".join(
        f'<DicomAttribute tag="{each.tag:08X}" vr="{each.VR}"><Value number="1">{each.value}</Value></DicomAttribute>'
        for each in (instance.data_set[name] for name in tags)
    )
    text += '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="pixels"/></DicomAttribute>'
    document = f'<NativeDicomModel xmlns="{NATIVE["dicom"]}">{text}</NativeDicomModel>'.encode()
    bulk = {"Content-Type": "application/octet-stream", "Content-Location": "pixels"}
    answer = server.parts(({"Content-Type": XML}, document), (bulk, instance.data_set.PixelData), kind=XML)
    assert answer.status_code == 200
    assert referenced(answer) == [instance.uid]


@store.that("8.7.1")
def missing_bulk_data_fails_alone(server: Server) -> None:
    bad, good = Instance(), Instance("MR_small.dcm")
    metadata = json.dumps(json.loads(bad.metadata) + json.loads(good.metadata)).encode()
    answer = server.parts(({"Content-Type": JSON}, metadata), *good.bulk, kind=JSON)
    assert answer.status_code == 202
    assert referenced(answer) == [good.uid]
    assert 0xC000 <= failed(answer)[bad.uid] <= 0xCFFF


@store.that("I.2")
def retrieve_urls_of_study_and_instance(server: Server) -> None:
    instance = Instance()
    answer = server.files(instance.file)
    assert answer.json()["00081190"]["Value"][0].endswith(f"/studies/{instance.study}")
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert url.endswith(f"/instances/{instance.uid}")
    server.settle()
    accept = f'multipart/related; type="{DICOM}"; transfer-syntax=*'
    assert instance.data_set.PixelData in httpx.get(url, headers={"Accept": accept}, trust_env=False).content


@store.that("I.2")
def sop_class_of_what_is_referenced(server: Server) -> None:
    instance = Instance()
    (item,) = server.files(instance.file).json()["00081199"]["Value"]
    assert item["00081150"]["Value"] == [instance.data_set.SOPClassUID]


@store.that("I.2.2")
def another_sop_class_than_storage_is_0122(server: Server) -> None:
    instance = Instance(SOPClassUID="1.2.840.10008.5.1.4.1.2.2.1")
    assert failed(server.files(instance.file)) == {instance.uid: 0x0122}


@store.that("I.2.2")
def pixel_data_in_a_media_type_of_no_transfer_syntax_is_c122(server: Server) -> None:
    instance = Instance()
    bulk = [({**headers, "Content-Type": "image/png"}, content) for headers, content in instance.bulk]
    answer = server.parts(({"Content-Type": JSON}, instance.metadata), *bulk, kind=JSON)
    assert failed(answer) == {instance.uid: 0xC122}


@store.that("8.4.1")
def the_answer_as_xml(server: Server) -> None:
    instance = Instance()
    answer = server.files(instance.file, Accept=XML)
    assert answer.headers["content-type"].startswith(XML)
    root = ET.fromstring(answer.content)
    assert root.find(".//dicom:DicomAttribute[@keyword='ReferencedSOPSequence']", NATIVE) is not None


@store.that("10.5.3")
def the_same_again_is_stored(server: Server) -> None:
    instance = Instance()
    assert server.files(instance.file).status_code == 200
    answer = server.files(instance.file)
    assert answer.status_code == 200
    assert referenced(answer) == [instance.uid]


test_this_archive, test_orthanc = store.tests()
