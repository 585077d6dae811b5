"""Searches item by item of PS3.18 8.3.4 and 10.6, on generated studies, by URL and by a foreign client."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from tests.support.elasticsearch import drop_indices
from tests.support.http_gateway import HttpGateway
from vna.dicom.multipart import write_related

CREATOR = "ACME 1.1 DEV"


def instance(study: int, series: int, number: int, modality: str, **values: Any) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    ds.StudyInstanceUID = f"1.2.9.{study}"
    ds.SeriesInstanceUID = f"1.2.9.{study}.{series}"
    ds.SOPInstanceUID = f"1.2.9.{study}.{series}.{number}"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = modality, series, number
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = "20260301", f"{8 + series:02d}0000"
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = f"SPS{series}", f"RP{study}"
    ds.RequestAttributesSequence = [item]
    ds.SeriesDescription = f"series {series}"
    for name, value in values.items():
        setattr(ds, name, value)
    block = ds.private_block(0x0029, CREATOR, create=True)
    block.add_new(0x08, "LO", f"private {number}")
    inner = Dataset()
    inner.CodeValue = f"C{study}"
    block.add_new(0x10, "SQ", [inner])
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def studies() -> Iterator[Dataset]:
    one = {
        "PatientName": "Müller^Anna=山田^太郎",
        "PatientID": "P-1",
        "IssuerOfPatientID": "HOSPITAL",
        "PatientBirthDate": "19700102",
        "StudyDate": "20260301",
        "StudyTime": "101530",
        "AccessionNumber": "A1",
        "StudyID": "S1",
        "ReferringPhysicianName": "Maier^Karl",
        "StudyDescription": "head",
    }
    two = one | {
        "PatientName": "Schmidt^John",
        "PatientID": "P-2",
        "IssuerOfPatientID": "",
        "PatientBirthDate": "",
        "StudyDate": "20260302",
        "StudyTime": "0900",
        "AccessionNumber": "A2",
        "StudyID": "S2",
        "ReferringPhysicianName": "Smith^Jane",
        "StudyDescription": "knee",
    }
    for number in (1, 2, 3):
        yield instance(1, 1, number, "CT", **one)
    yield instance(1, 2, 1, "MR", **one)
    yield instance(2, 1, 1, "CT", **two)


def part10(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["sqlite", "elasticsearch"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    settings: dict[str, str] = {}
    prefix = f"t{secrets.token_hex(6)}"
    if request.param == "elasticsearch":
        url = request.getfixturevalue("elasticsearch_url")
        settings = {"KIND": "elasticsearch", "HOSTS": json.dumps([url]), "PREFIX": prefix}
    gateway = HttpGateway(
        tmp_path_factory.mktemp("query"), **{f"VNA_INDEX__{name}": value for name, value in settings.items()}
    )
    parts = (({"Content-Type": "application/dicom"}, (part10(ds),)) for ds in studies())
    content_type = 'multipart/related; type="application/dicom"; boundary="BB"'
    answer = gateway.client.post("/studies", content=write_related(parts, "BB"), headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    assert gateway.ingest().stored == 5
    yield gateway
    assert gateway.stop() == 0
    if settings:
        drop_indices(url, prefix)
    log = gateway.log.read_text()
    assert "Traceback" not in log, log


def found(gateway: HttpGateway, url: str, level: str = "study") -> set[str]:
    """Return the numbers behind the UIDs of what a search finds, such as ``1.2`` for the second series of the first."""
    answer = gateway.client.get(url)
    if answer.status_code == 204:
        assert not answer.content
        return set()
    assert answer.status_code == 200, answer.text
    tag = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}[level]
    return {each[tag]["Value"][0].removeprefix("1.2.9.") for each in answer.json()}


STUDY_KEYS = [
    ("StudyDate=20260301", "1"),
    ("StudyDate=20260302-", "2"),
    ("StudyDate=-20260301", "1"),
    ("StudyDate=20260301-20260302", "1 2"),
    ("StudyTime=1000-1100", "1"),
    ("StudyTime=10", "1"),
    ("StudyDate=20260301-20260302&StudyTime=1100-0830", ""),
    ("StudyDate=20260301-20260302&StudyTime=1100-0900", "2"),
    ("StudyDate=20260301-20260302&StudyTime=1000-", "1 2"),
    ("StudyDate=20260301&StudyTime=1000-", "1"),
    ("AccessionNumber=A1", "1"),
    ("AccessionNumber=A?", "1 2"),
    ("ModalitiesInStudy=MR", "1"),
    ("ModalitiesInStudy=CT", "1 2"),
    ("ReferringPhysicianName=maier*", "1"),
    ("ReferringPhysicianName=maier^karl", "1"),
    ("ReferringPhysicianName=maier", ""),
    ("PatientName=M%C3%BCller^Anna", "1"),
    ("PatientName=muller^a*", "1"),
    ("PatientName=*^john", "2"),
    ("PatientName==%E5%B1%B1%E7%94%B0^*", "1"),
    ("PatientName=M*%3D%E5%B1%B1*", "1"),
    ("PatientName=S*%3D%E5%B1%B1*", ""),
    ("PatientID=P-1", "1"),
    ("PatientID=p-1", ""),
    ("PatientID=*2", "2"),
    ("PatientID=P-1%5CP-2", "1 2"),
    ("StudyInstanceUID=1.2.9.1,1.2.9.2", "1 2"),
    ("StudyInstanceUID=1.2.9.1%5C1.2.9.2", "1 2"),
    ("StudyInstanceUID=1.2.9.1&StudyInstanceUID=1.2.9.7", "1"),
    ("StudyID=S2", "2"),
    ("PatientBirthDate=19700102", "1"),
    ('PatientBirthDate=""&emptyvaluematching=true', "2"),
    ("IssuerOfPatientID=HOSPITAL", "1"),
    ("StudyDescription=h*d", "1"),
    ("00081030=knee", "2"),
    ("fuzzymatching=true&PatientName=john%20schmit", "2"),
    ("fuzzymatching=true&PatientName=Mueller", "1"),
    ("fuzzymatching=true&PatientName=anna%20%E5%A4%AA%E9%83%8E", "1"),
    ("fuzzymatching=true&ReferringPhysicianName=carl%20meyer", "1"),
    ("fuzzymatching=true&ReferringPhysicianName=peter", ""),
]


@pytest.mark.parametrize(("query", "expected"), STUDY_KEYS)
def test_studies_by(gateway: HttpGateway, query: str, expected: str) -> None:
    assert found(gateway, f"/studies?{query}") == set(expected.split())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Modality=MR", "1.2"),
        ("SeriesInstanceUID=1.2.9.1.1,1.2.9.2.1", "1.1 2.1"),
        ("SeriesNumber=2", "1.2"),
        ("PerformedProcedureStepStartDate=20260301&PerformedProcedureStepStartTime=0930-1030", "1.2"),
        ("RequestAttributesSequence.ScheduledProcedureStepID=SPS2", "1.2"),
        ("00400275.00400009=SPS*", "1.1 1.2 2.1"),
        ("RequestAttributesSequence.RequestedProcedureID=RP2", "2.1"),
        ("SeriesDescription=series 2", "1.2"),
        ("PatientID=P-2", "2.1"),
        ("ModalitiesInStudy=MR&Modality=CT", "1.1"),
    ],
)
def test_series_by(gateway: HttpGateway, query: str, expected: str) -> None:
    assert found(gateway, f"/series?{query}", "series") == set(expected.split())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"SOPClassUID={MRImageStorage}", "1.2.1"),
        ("SOPInstanceUID=1.2.9.1.1.2", "1.1.2"),
        ("InstanceNumber=3", "1.1.3"),
        ("00200013=3&Modality=CT", "1.1.3"),
        (f"0029xx08@{quote(CREATOR)}=private 2", "1.1.2"),
        (f"00291008@{quote(CREATOR)}=private 3", "1.1.3"),
        (f"0029xx10@{quote(CREATOR)}.CodeValue=C2", "2.1.1"),
        ("0029xx08@NOBODY=private 2", ""),
    ],
)
def test_instances_by(gateway: HttpGateway, query: str, expected: str) -> None:
    assert found(gateway, f"/instances?{query}", "instance") == set(expected.split())


def test_below_a_study_and_a_series(gateway: HttpGateway) -> None:
    assert found(gateway, "/studies/1.2.9.1/series?Modality=CT", "series") == {"1.1"}
    assert found(gateway, "/studies/1.2.9.1/instances?InstanceNumber=1", "instance") == {"1.1.1", "1.2.1"}
    assert found(gateway, "/studies/1.2.9.1/series/1.2.9.1.1/instances?InstanceNumber=1", "instance") == {"1.1.1"}
    assert found(gateway, "/studies/1.2.9.2/series/1.2.9.1.1/instances", "instance") == set()


def test_fields_to_include(gateway: HttpGateway) -> None:
    creator = quote(CREATOR)
    fields = f"RequestAttributesSequence.RequestedProcedureID,0029xx08@{creator},SeriesDescription"
    url = f"/instances?SOPInstanceUID=1.2.9.1.1.2&includefield={fields}&includefield=StudyDescription"
    (result,) = gateway.client.get(url).json()
    assert result["00400275"]["Value"][0]["00401001"]["Value"] == ["RP1"]
    assert result["00290010"]["Value"] == [CREATOR]
    assert result["00291008"]["Value"] == ["private 2"]
    assert "00291010" not in result
    assert result["0008103E"]["Value"] == ["series 1"]
    assert result["00081030"]["Value"] == ["head"]
    (series,) = gateway.client.get("/series?Modality=MR&includefield=all").json()
    assert "00081030" in series
    assert "00200013" not in series
    (study,) = gateway.client.get("/studies?StudyID=S1&includefield=SeriesDescription").json()
    assert "0008103E" not in study
    assert study["00201206"]["Value"] == [2]
    assert study["00201208"]["Value"] == [4]
    assert study["00080061"]["Value"] == ["CT", "MR"]
    assert study["00081190"]["Value"] == [f"{gateway.base}/studies/1.2.9.1"]


@pytest.mark.parametrize("path", ["/series", "/instances", "/studies/1.2.9.1/instances"])
def test_what_is_gathered_over_study_and_series_is_in_results_below_them(gateway: HttpGateway, path: str) -> None:
    wanted = {"includefield": "ModalitiesInStudy,NumberOfStudyRelatedInstances", "StudyInstanceUID": "1.2.9.1"}
    results = gateway.client.get(path, params=wanted).json()
    for each in results:
        assert sorted(each["00080061"]["Value"]) == ["CT", "MR"]
        assert each["00201208"]["Value"] == [4]
        series = {"1.2.9.1.1": 3, "1.2.9.1.2": 1}
        assert each["00201209"]["Value"] == [series[each["0020000E"]["Value"][0]]]
    assert len(results) == (2 if path == "/series" else 4)


def test_private_attributes_with_their_creator_beside_them(gateway: HttpGateway) -> None:
    parameters = {"00290010": CREATOR, "00291008": "private 2", "includefield": "00291008"}
    (found,) = gateway.client.get("/instances", params=parameters).json()
    assert found["00080018"]["Value"] == ["1.2.9.1.1.2"]
    assert found["00291008"]["Value"] == ["private 2"]


def test_pages_come_in_one_order_and_tell_what_remains(gateway: HttpGateway) -> None:
    whole = [each["00080018"]["Value"] for each in gateway.client.get("/instances").json()]
    for _ in range(2):
        pages = [gateway.client.get(f"/instances?limit=2&offset={offset}") for offset in (0, 2, 4)]
        assert [each["00080018"]["Value"] for page in pages for each in page.json()] == whole
        remaining = [page.headers.get("warning", "") for page in pages]
        assert [text.split('"')[1].split()[2] if text else "" for text in remaining] == ["3", "1", ""]
    beyond = gateway.client.get("/instances?limit=2&offset=5")
    assert (beyond.status_code, beyond.content) == (204, b"")


@pytest.mark.parametrize(
    "name",
    ["Nothing", "00400275.Nothing", "0029xx08", "00291008", "Modality", "00080018", "PatientID.", "0029xx08@", "99"],
)
def test_what_cannot_be_matched_in_a_search_for_studies_is_named(gateway: HttpGateway, name: str) -> None:
    answer = gateway.client.get(f"/studies?{name}=1")
    assert answer.status_code == 400
    assert name in answer.json()["detail"]


def test_a_warning_cannot_become_another_header_field(gateway: HttpGateway) -> None:
    name = quote('0029xx10@a"b\\\r\nX-Injected: 1\r\n\u5c71.PatientName')
    answer = gateway.client.get(f"/instances?fuzzymatching=true&{name}=a*b")
    assert answer.status_code == 204
    assert "x-injected" not in answer.headers
    assert "PatientName" in answer.headers["warning"]


def test_a_foreign_client_searches(gateway: HttpGateway) -> None:
    client = DICOMwebClient(gateway.base)
    client._session.trust_env = False
    (study,) = client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "Muler Anna"})
    assert study["0020000D"]["Value"] == ["1.2.9.1"]
    (series,) = client.search_for_series(
        search_filters={"Modality": "MR", "StudyDate": "20260301-20260302"}, fields=["SeriesDescription"]
    )
    assert series["0008103E"]["Value"] == ["series 2"]
    assert len(client.search_for_instances(limit=2, offset=1)) == 2
    assert client.search_for_instances(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_instances(get_remaining=True, limit=2)) == 5
