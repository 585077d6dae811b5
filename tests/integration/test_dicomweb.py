"""The HTTP gateway as a process of its own, used by a foreign client (dicomweb-client)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pydicom.pixels import pixel_array

from tests.support.http_gateway import HttpGateway
from tests.support.real_files import real_file
from vna.dicom.multipart import write_related

# Native little endian, implicit, big endian, deflated, one bit, colour, multi-frame, RLE, JPEG, JPEG-LS, JPEG 2000.
NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "rtplan.dcm",
    "rtdose.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "image_dfl.dcm",
    "liver.dcm",
    "US1_UNCR.dcm",
    "examples_overlay.dcm",
    "SC_rgb_rle_2frame.dcm",
    "emri_small_RLE.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG-LL.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "JPEG2000.dcm",
    "693_J2KI.dcm",
    "color3d_jpeg_baseline.dcm",
    "waveform_ecg.dcm",
    "test-SR.dcm",
)


class Stored:
    """One file that was stored."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.raw = path.read_bytes()
        self.data_set = pydicom.dcmread(path)
        self.uids = tuple(
            str(self.data_set[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        )
        self.url = "/studies/{}/series/{}/instances/{}".format(*self.uids)

    @property
    def has_pixels(self) -> bool:
        return "PixelData" in self.data_set

    @property
    def compressed(self) -> bool:
        return self.data_set.file_meta.TransferSyntaxUID.is_encapsulated


def unique() -> list[Stored]:
    """Return the files, of those with the same UIDs the first."""
    found: dict[str, Stored] = {}
    for name in NAMES:
        item = Stored(real_file(name))
        found.setdefault(item.uids[2], item)
    return list(found.values())


FILES = unique()
IMAGES = [item for item in FILES if item.has_pixels]
COMPRESSED = [item for item in IMAGES if item.compressed]


def by_name(item: Stored) -> str:
    return item.name


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("http"))
    parts = (({"Content-Type": "application/dicom"}, (item.raw,)) for item in FILES)
    answer = gateway.client.post(
        "/studies",
        content=write_related(parts, "x-boundary"),
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary="x-boundary"'},
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["00081199"]["Value"]) == len(FILES)
    report = gateway.ingest()
    assert report.stored == len(FILES), report
    yield gateway
    assert gateway.stop() == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log, log
    assert "Warning" not in log, log


@pytest.fixture(scope="module")
def client(gateway: HttpGateway) -> DICOMwebClient:
    client = DICOMwebClient(gateway.base)
    client._session.trust_env = False
    return client


def test_the_set_has_what_it_is_meant_to_have() -> None:
    syntaxes = {item.data_set.file_meta.TransferSyntaxUID for item in FILES}
    assert len(FILES) == 18
    assert len(syntaxes) == 8


# --- store -----------------------------------------------------------------------------------------------------------


def test_a_client_stores_and_finds(client: DICOMwebClient, gateway: HttpGateway) -> None:
    data_set = pydicom.dcmread(real_file("CT_small.dcm"))
    data_set.StudyInstanceUID, data_set.SOPInstanceUID = "1.2.3.1", "1.2.3.2"
    data_set.PatientID = "STORED-BY-CLIENT"
    answer = client.store_instances([data_set])
    (reference,) = answer.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.3.2"
    assert "FailedSOPSequence" not in answer
    assert gateway.ingest().stored == 1
    (found,) = client.search_for_studies(search_filters={"PatientID": "STORED-BY-CLIENT"})
    assert found["0020000D"]["Value"] == ["1.2.3.1"]
    instance = client.retrieve_instance("1.2.3.1", data_set.SeriesInstanceUID, "1.2.3.2")
    assert instance == data_set
    assert reference.RetrieveURL == found["00081190"]["Value"][0] + (
        f"/series/{data_set.SeriesInstanceUID}/instances/1.2.3.2"
    )


# --- search ----------------------------------------------------------------------------------------------------------


def test_every_study_series_and_instance_is_found(client: DICOMwebClient) -> None:
    for item in FILES:
        study, series, sop = item.uids
        (found,) = client.search_for_studies(search_filters={"StudyInstanceUID": study})
        assert found["00201208"]["Value"][0] >= 1
        assert "00100010" in found
        assert [each["0020000E"]["Value"] for each in client.search_for_series(study)].count([series]) == 1
        (instance,) = client.search_for_instances(study, series, search_filters={"SOPInstanceUID": sop})
        assert instance["00080016"]["Value"] == [item.data_set.SOPClassUID]
        assert instance["00081190"]["Value"][0].endswith(item.url)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("PatientID=1CT1", {"CT_small.dcm"}),
        ("00100020=1CT1", {"CT_small.dcm"}),
        ("PatientName=compressedsamples^c*", {"CT_small.dcm"}),
        ("StudyDate=20040119&PatientID=1CT*", {"CT_small.dcm"}),
        ("StudyDate=20040118-20040120&StudyTime=0700-0800", {"CT_small.dcm"}),
        ("Modality=RTPLAN", {"rtplan.dcm"}),
        ("ModalitiesInStudy=RTPLAN", {"rtplan.dcm"}),
        ("FractionGroupSequence.ReferencedBeamSequence.BeamDose=1.0275401", {"rtplan.dcm"}),
        ("PatientID=", "all"),
        ("PatientID=nobody", set()),
    ],
)
def test_matching(gateway: HttpGateway, query: str, names: set[str] | str) -> None:
    answer = gateway.client.get(f"/instances?{query}")
    found = {each["00080018"]["Value"][0] for each in answer.json()} if answer.status_code == 200 else set()
    sops = {item.uids[2]: item.name for item in FILES}
    seen = {sops[uid] for uid in found if uid in sops}
    assert seen == ({item.name for item in FILES} if names == "all" else names), answer.text[:2000]
    assert answer.status_code == (200 if names else 204)
    assert answer.headers.get("content-type") == ("application/dicom+json" if names else None)


def test_a_list_of_uids(gateway: HttpGateway) -> None:
    wanted = sorted({FILES[0].uids[0], FILES[1].uids[0]})
    answer = gateway.client.get("/studies", params={"StudyInstanceUID": ",".join(wanted)})
    assert sorted(each["0020000D"]["Value"][0] for each in answer.json()) == wanted


def test_pages_cover_everything_once_and_say_what_remains(gateway: HttpGateway) -> None:
    everything = [each["00080018"]["Value"][0] for each in gateway.client.get("/instances").json()]
    paged: list[str] = []
    while True:
        answer = gateway.client.get("/instances", params={"limit": "4", "offset": str(len(paged))})
        if answer.status_code == 204:
            break
        paged += [each["00080018"]["Value"][0] for each in answer.json()]
        remaining = len(everything) - len(paged)
        if remaining:
            assert answer.headers["warning"].startswith("299 ")
            assert f" {remaining} additional results" in answer.headers["warning"]
        else:
            assert "warning" not in answer.headers
    assert paged == everything


def test_fields_of_a_result(gateway: HttpGateway) -> None:
    study = FILES[0].uids[0]
    (least,) = gateway.client.get("/studies", params={"StudyInstanceUID": study}).json()
    assert "00081030" not in least
    (more,) = gateway.client.get("/studies", params={"StudyInstanceUID": study, "includefield": "00081030"}).json()
    assert more["00081030"]["vr"] == "LO"
    (most,) = gateway.client.get("/studies", params={"StudyInstanceUID": study, "includefield": "all"}).json()
    assert set(least) <= set(most)
    assert len(most) > len(least)
    assert list(most) == sorted(most)


def test_results_as_native_dicom_model(gateway: HttpGateway) -> None:
    answer = gateway.client.get(
        "/studies?PatientID=1CT1", headers={"Accept": 'multipart/related; type="application/dicom+xml"'}
    )
    assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"; boundary=')
    assert '<DicomAttribute tag="00100020" vr="LO" keyword="PatientID"><Value number="1">1CT1</Value>' in answer.text


@pytest.mark.parametrize(
    "query", ["NoSuchThing=1", "studies=1", "SOPInstanceUID=1.2", "limit=x", "00091001=1", "StudyDate=never"]
)
def test_what_cannot_be_searched_for_is_named(gateway: HttpGateway, query: str) -> None:
    answer = gateway.client.get(f"/studies?{query}")
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "detail"}
    assert query.partition("=")[0] in answer.json()["detail"]


def test_fuzzy_matching_is_not_ignored_in_silence(gateway: HttpGateway) -> None:
    fuzzy = gateway.client.get("/studies?fuzzymatching=true&PatientName=Compresed")
    assert fuzzy.status_code == 200
    assert "warning" not in fuzzy.headers
    literal = gateway.client.get("/studies?fuzzymatching=true&PatientName=Compre*d*")
    assert "PatientName" in literal.headers["warning"]


# --- retrieve --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", FILES, ids=by_name)
def test_an_instance_comes_back_byte_for_byte(gateway: HttpGateway, item: Stored) -> None:
    single = gateway.client.get(item.url, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert single.status_code == 200
    assert single.content == item.raw
    related = gateway.client.get(
        item.url, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    )
    assert item.raw in related.content
    assert f"transfer-syntax={item.data_set.file_meta.TransferSyntaxUID}".encode() in related.content[:500]


@pytest.mark.parametrize("item", FILES, ids=by_name)
def test_without_a_transfer_syntax_it_is_explicit_little_endian(gateway: HttpGateway, item: Stored) -> None:
    answer = gateway.client.get(item.url, headers={"Accept": "application/dicom"})
    assert answer.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    got = pydicom.dcmread(io.BytesIO(answer.content))
    assert got.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    if not item.has_pixels:
        assert got == item.data_set
    elif not item.data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        np.testing.assert_array_equal(got.pixel_array, item.data_set.pixel_array)
    else:
        np.testing.assert_array_equal(pixel_array(got), pixel_array(item.data_set))


def test_a_study_and_a_series(client: DICOMwebClient) -> None:
    for item in FILES[:4]:
        study, series, sop = item.uids
        in_study = {each.SOPInstanceUID for each in client.retrieve_study(study)}
        in_series = {each.SOPInstanceUID for each in client.iter_series(study, series)}
        assert sop in in_series
        assert in_series <= in_study
        same_study = {other.uids[2] for other in FILES if other.uids[0] == study}
        assert in_study == same_study


def bulk_free(data_set: Dataset) -> dict[str, str]:
    return {f"{element.tag:08X}": element.VR for element in data_set if element.tag.element}


@pytest.mark.parametrize("item", FILES, ids=by_name)
def test_metadata_has_every_attribute(client: DICOMwebClient, item: Stored) -> None:
    metadata = client.retrieve_instance_metadata(*item.uids)
    assert set(bulk_free(item.data_set)) <= set(metadata)
    assert metadata["00083002"]["Value"] == [item.data_set.file_meta.TransferSyntaxUID]
    if item.has_pixels:
        url = metadata["7FE00010"]["BulkDataURI"]
        assert url == f"{client.base_url}{item.url}/bulkdata/7FE00010"
    study, series, _ = item.uids
    assert metadata in client.retrieve_series_metadata(study, series)
    assert metadata in client.retrieve_study_metadata(study)


@pytest.mark.parametrize("item", IMAGES, ids=by_name)
def test_frames_are_the_pixels_that_pydicom_sees(gateway: HttpGateway, client: DICOMwebClient, item: Stored) -> None:
    expected = native_frames(item.data_set)
    numbers = range(1, len(expected) + 1)
    got = client.retrieve_instance_frames(*item.uids, list(numbers), media_types=("application/octet-stream",))
    assert len(got) == len(expected)
    for number, (ours, theirs) in enumerate(zip(got, expected, strict=True), 1):
        assert ours == theirs, f"frame {number}: {len(ours)} bytes, {len(theirs)} expected"
    last = client.retrieve_instance_frames(
        *item.uids, [numbers[-1]], media_types=(("application/octet-stream", "1.2.840.10008.1.2.1"),)
    )
    assert last == [expected[-1]]
    beyond = gateway.client.get(f"{item.url}/frames/1,{len(expected) + 1}")
    assert beyond.status_code == 404
    assert f"no frame {len(expected) + 1}" in beyond.json()["detail"]


def native_frames(data_set: Dataset) -> list[bytes]:
    """Return the frames as native little endian pixels, from pydicom's array of them."""
    array = data_set.pixel_array
    count = int(data_set.get("NumberOfFrames") or 1)
    array = array if count > 1 else array[np.newaxis]
    if data_set.BitsAllocated == 1:
        return [np.packbits(frame.reshape(-1), bitorder="little").tobytes() for frame in array]
    if data_set.get("PlanarConfiguration") == 1 and not data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        array = np.moveaxis(array, -1, 1)
    return [frame.astype(frame.dtype.newbyteorder("<")).tobytes() for frame in array]


@pytest.mark.parametrize("item", COMPRESSED, ids=by_name)
def test_compressed_frames_come_as_they_are_stored(gateway: HttpGateway, item: Stored) -> None:
    syntax = item.data_set.file_meta.TransferSyntaxUID
    count = int(item.data_set.get("NumberOfFrames") or 1)
    expected = list(pydicom.encaps.generate_frames(item.data_set.PixelData, number_of_frames=count))
    answer = gateway.client.get(
        f"{item.url}/frames/{count}", headers={"Accept": "application/octet-stream; transfer-syntax=*"}
    )
    assert answer.content == expected[-1]
    assert answer.headers["content-type"] == f"application/octet-stream; transfer-syntax={syntax}"
    whole = gateway.client.get(
        f"{item.url}/bulkdata/7FE00010",
        headers={"Accept": f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'},
    )
    for frame in expected:
        assert frame in whole.content
    media_type = gateway.client.get(f"{item.url}/frames/1", headers={"Accept": "image/*"}).headers["content-type"]
    assert media_type.startswith("image/")
    assert media_type.endswith(f"; transfer-syntax={syntax}")
    refused = gateway.client.get(f"{item.url}/frames/1", headers={"Accept": "image/gif"})
    assert refused.status_code == 406
    assert media_type.split(";")[0] in refused.json()["detail"]


@pytest.mark.parametrize("item", IMAGES, ids=by_name)
def test_bulk_pixel_data_is_the_frames(client: DICOMwebClient, item: Stored) -> None:
    url = client.retrieve_instance_metadata(*item.uids)["7FE00010"]["BulkDataURI"]
    (value,) = client.retrieve_bulkdata(url, media_types=("application/octet-stream",))
    if item.data_set.BitsAllocated == 1:
        assert value == item.data_set.PixelData
    else:
        joined = b"".join(native_frames(item.data_set))
        assert value[: len(joined)] == joined
        assert len(value) - len(joined) < 2


def test_bulk_values_other_than_pixels(gateway: HttpGateway, client: DICOMwebClient) -> None:
    item = next(item for item in FILES if item.name == "waveform_ecg.dcm")
    metadata = client.retrieve_instance_metadata(*item.uids)
    url = metadata["54000100"]["Value"][0]["54001010"]["BulkDataURI"]
    expected = item.data_set.WaveformSequence[0].WaveformData
    assert client.retrieve_bulkdata(url) == [expected]
    part = gateway.client.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, expected[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(expected)}"


# --- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=128-131", 128, 132), ("bytes=39000-", 39000, None), ("bytes=-100", -100, None)],
)
def test_ranges_of_an_instance(gateway: HttpGateway, field: str, start: int, end: int | None) -> None:
    item = FILES[0]
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    answer = gateway.client.get(item.url, headers={**accept, "Range": field})
    assert answer.status_code == 206
    assert answer.content == item.raw[start:end]
    first = start % len(item.raw)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(item.raw)}"


@pytest.mark.parametrize("field", ["bytes=9999999-", "bytes=-0"])
def test_ranges_outside_of_an_instance(gateway: HttpGateway, field: str) -> None:
    item = FILES[0]
    answer = gateway.client.get(item.url, headers={"Accept": "application/dicom", "Range": field})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(item.raw)}"


@pytest.mark.parametrize("field", ["bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"])
def test_ranges_that_are_none_give_the_whole(gateway: HttpGateway, field: str) -> None:
    item = FILES[0]
    answer = gateway.client.get(item.url, headers={"Accept": "application/dicom", "Range": field})
    assert (answer.status_code, answer.content) == (200, item.raw)


def test_a_range_of_what_has_changed_gives_the_whole(gateway: HttpGateway) -> None:
    item = FILES[0]
    fields = {"Accept": "application/dicom", "Range": "bytes=0-9"}
    tag = gateway.client.get(item.url, headers=fields).headers["etag"]
    assert gateway.client.get(item.url, headers={**fields, "If-Range": tag}).status_code == 206
    assert gateway.client.get(item.url, headers={**fields, "If-Range": '"other"'}).status_code == 200


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2.3.4.5.6",
        "/studies/1.2.3.4.5.6/metadata",
        "/studies/1.2.3.4.5.6/series/1/instances/2/frames/1",
        "/studies/1.2.3.4.5.6/series/1/instances/2/bulkdata/7FE00010",
        "/nothing",
        "/studies/",
    ],
)
def test_what_is_not_there(gateway: HttpGateway, path: str) -> None:
    answer = gateway.client.get(path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "detail"}


@pytest.mark.parametrize("path", ["00100010", "7FE00010.0.7FE00010", "../../etc/passwd", "7FE0", "%00"])
def test_bulk_values_that_are_not_there(gateway: HttpGateway, path: str) -> None:
    assert gateway.client.get(f"{FILES[0].url}/bulkdata/{path}").status_code == 404


def test_a_method_that_is_not_there(gateway: HttpGateway) -> None:
    answer = gateway.client.put(FILES[0].url)
    assert answer.status_code == 405
    assert answer.json()["error"] == "method-not-allowed"
    assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize(
    "accept",
    ["image/png", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80", 'multipart/related; type="text/plain"'],
)
def test_what_is_not_to_be_had(gateway: HttpGateway, accept: str) -> None:
    answer = gateway.client.get(FILES[0].url, headers={"Accept": accept})
    assert answer.status_code == 406
    assert answer.json()["error"] == "not-acceptable"


def test_the_accept_parameter_stands_before_the_field(gateway: HttpGateway) -> None:
    answer = gateway.client.get(
        FILES[0].url, params={"accept": "application/dicom; transfer-syntax=*"}, headers={"Accept": "image/png"}
    )
    assert answer.content == FILES[0].raw
    assert pydicom.dcmread(io.BytesIO(answer.content)).SOPInstanceUID == FILES[0].uids[2]


def test_head_tells_the_length(gateway: HttpGateway) -> None:
    answer = gateway.client.head(FILES[0].url, headers={"Accept": "application/dicom"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(FILES[0].raw)))
