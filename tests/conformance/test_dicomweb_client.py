"""A stranger's client, dicomweb-client, through every method that it has, against this archive."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pydicom.uid import generate_uid

from tests.conformance.pictures import opened
from tests.conformance.samples import BY_LABEL, COLUMNS, ROWS, frame, pixels, uid_of
from tests.conformance.support import DICOM, EXPLICIT, OCTETS, RLE, Server, values

A, A1, CT = uid_of("A"), uid_of("A1"), (uid_of("A"), uid_of("A1"), uid_of("A1.2"))
SEVERAL = (uid_of("B"), uid_of("B1"), uid_of("B1.1"))
COMPRESSED = (uid_of("C"), uid_of("C1"), uid_of("C1.1"))
ALL = {"PatientID": "CONF-*"}

Use = Callable[[DICOMwebClient, Server], None]
USES: dict[str, Use] = {}


def use(function: Use) -> Use:
    """Enter the use of the method of the same name."""
    USES[function.__name__] = function
    return function


def found(data_sets: list[dict[str, Any]], tag: str) -> list[str]:
    return [value for each in data_sets for value in values(each, tag)]


def numbers(data_sets: Any) -> list[int]:
    return sorted(int(each.InstanceNumber) for each in data_sets)


def shown(content: bytes) -> tuple[int, int]:
    return opened(content).size


def bulk_uri(client: DICOMwebClient) -> str:
    return str(client.retrieve_instance_metadata(*CT)["7FE00010"]["BulkDataURI"])


def a_copy() -> Dataset:
    data_set = BY_LABEL["A2.1"].copy()
    data_set.PatientID = "STRANGER"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return data_set


def stored(client: DICOMwebClient, server: Server) -> tuple[str, str, str]:
    data_set = a_copy()
    client.store_instances([data_set])
    server.settle()
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


@use
def search_for_studies(client: DICOMwebClient, _server: Server) -> None:
    assert sorted(found(client.search_for_studies(search_filters=ALL), "0020000D")) == [uid_of(each) for each in "ABC"]
    page = client.search_for_studies(search_filters=ALL, limit=1, offset=1, fields=["StudyDescription"])
    assert len(found(page, "00081030")) == 1
    assert len(client.search_for_studies(search_filters=ALL, limit=1, get_remaining=True)) == 3
    alike = client.search_for_studies(search_filters={"PatientName": "john schmid"}, fuzzymatching=True)
    assert uid_of("B") in found(alike, "0020000D")
    assert client.search_for_studies(search_filters={"PatientID": "CONF-9"}) == []


@use
def search_for_series(client: DICOMwebClient, _server: Server) -> None:
    assert found(client.search_for_series(A, search_filters={"Modality": "MR"}), "0020000E") == [uid_of("A2")]
    assert len(client.search_for_series(search_filters=ALL)) == 6


@use
def search_for_instances(client: DICOMwebClient, _server: Server) -> None:
    assert len(client.search_for_instances(A, A1)) == 3
    assert len(client.search_for_instances(A)) == 4
    assert found(client.search_for_instances(search_filters=ALL | {"InstanceNumber": 3}), "00080018") == [
        uid_of("A1.3")
    ]


@use
def retrieve_study(client: DICOMwebClient, _server: Server) -> None:
    assert numbers(client.retrieve_study(A)) == [1, 1, 2, 3]
    as_stored = client.retrieve_study(uid_of("C"), media_types=((DICOM, "*"),))
    assert {each.file_meta.TransferSyntaxUID for each in as_stored} == {EXPLICIT, RLE}


@use
def iter_study(client: DICOMwebClient, _server: Server) -> None:
    assert numbers(client.iter_study(A)) == [1, 1, 2, 3]


@use
def retrieve_series(client: DICOMwebClient, _server: Server) -> None:
    assert numbers(client.retrieve_series(A, A1)) == [1, 2, 3]


@use
def iter_series(client: DICOMwebClient, _server: Server) -> None:
    assert numbers(client.iter_series(A, A1)) == [1, 2, 3]


@use
def retrieve_instance(client: DICOMwebClient, _server: Server) -> None:
    assert client.retrieve_instance(*CT).PixelData == pixels(2).tobytes()
    as_stored = client.retrieve_instance(*COMPRESSED, media_types=((DICOM, "*"),))
    assert as_stored.file_meta.TransferSyntaxUID == RLE
    explicit = client.retrieve_instance(*COMPRESSED, media_types=((DICOM, EXPLICIT),))
    assert explicit.PixelData == pixels(5).tobytes()


@use
def retrieve_study_metadata(client: DICOMwebClient, _server: Server) -> None:
    assert len(client.retrieve_study_metadata(A)) == 4


@use
def retrieve_series_metadata(client: DICOMwebClient, _server: Server) -> None:
    assert len(client.retrieve_series_metadata(A, A1)) == 3


@use
def retrieve_instance_metadata(client: DICOMwebClient, _server: Server) -> None:
    read = Dataset.from_json(client.retrieve_instance_metadata(*CT), lambda *_: b"")
    assert (read.Rows, read.Columns, read.PatientName.ideographic) == (ROWS, COLUMNS, "山田^太郎")


@use
def retrieve_instance_frames(client: DICOMwebClient, _server: Server) -> None:
    expected = [frame(3).tobytes(), frame(1).tobytes()]
    assert client.retrieve_instance_frames(*SEVERAL, frame_numbers=[3, 1], media_types=(OCTETS,)) == expected
    (compressed,) = client.retrieve_instance_frames(*COMPRESSED, frame_numbers=[1], media_types=("image/dicom-rle",))
    assert compressed != pixels(5).tobytes()


@use
def iter_instance_frames(client: DICOMwebClient, _server: Server) -> None:
    assert list(client.iter_instance_frames(*SEVERAL, frame_numbers=[2])) == [frame(2).tobytes()]


@use
def retrieve_series_rendered(client: DICOMwebClient, _server: Server) -> None:
    series = (uid_of("A"), uid_of("A2"))
    assert shown(client.retrieve_series_rendered(*series, media_types=("image/png",))) == (COLUMNS, ROWS)


@use
def retrieve_instance_rendered(client: DICOMwebClient, _server: Server) -> None:
    parameters = {"window": "1000,400,linear", "viewport": "32,32"}
    assert shown(client.retrieve_instance_rendered(*CT, media_types=("image/png",), params=parameters)) == (32, 24)


@use
def retrieve_instance_frames_rendered(client: DICOMwebClient, _server: Server) -> None:
    picture = client.retrieve_instance_frames_rendered(*SEVERAL, frame_numbers=[2], media_types=("image/jpeg",))
    assert shown(picture) == (COLUMNS, ROWS)


@use
def retrieve_bulkdata(client: DICOMwebClient, _server: Server) -> None:
    uri = bulk_uri(client)
    assert client.retrieve_bulkdata(uri) == [pixels(2).tobytes()]
    assert client.retrieve_bulkdata(uri, media_types=(OCTETS,), byte_range=(10, 19)) == [pixels(2).tobytes()[10:20]]


@use
def iter_bulkdata(client: DICOMwebClient, _server: Server) -> None:
    assert b"".join(client.iter_bulkdata(bulk_uri(client))) == pixels(2).tobytes()


@use
def store_instances(client: DICOMwebClient, server: Server) -> None:
    one, two = a_copy(), a_copy()
    answer = client.store_instances([one, two])
    assert {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence} == {
        one.SOPInstanceUID,
        two.SOPInstanceUID,
    }
    three = a_copy()
    client.store_instances([three], study_instance_uid=three.StudyInstanceUID)
    server.settle()
    assert len(client.search_for_instances(three.StudyInstanceUID)) == 1


@use
def delete_study(client: DICOMwebClient, server: Server) -> None:
    client.delete_study(stored(client, server)[0])


@use
def delete_series(client: DICOMwebClient, server: Server) -> None:
    client.delete_series(*stored(client, server)[:2])


@use
def delete_instance(client: DICOMwebClient, server: Server) -> None:
    client.delete_instance(*stored(client, server))


@use
def set_chunk_size(client: DICOMwebClient, _server: Server) -> None:
    client.set_chunk_size(1000)
    assert client.retrieve_instance(*CT).PixelData == pixels(2).tobytes()


@use
def set_http_retry_params(client: DICOMwebClient, _server: Server) -> None:
    client.set_http_retry_params(retry=False)
    assert len(client.search_for_studies(search_filters=ALL)) == 3


@use
def lookup_keyword(client: DICOMwebClient, _server: Server) -> None:
    tags = client.search_for_studies(search_filters=ALL, limit=1)[0]
    assert "StudyInstanceUID" in {client.lookup_keyword(tag) for tag in tags}


@use
def lookup_tag(client: DICOMwebClient, _server: Server) -> None:
    (study,) = client.search_for_studies(search_filters={client.lookup_tag("StudyInstanceUID"): A})
    assert client.lookup_tag("PatientName") in study


@pytest.fixture
def client(archive: Server) -> DICOMwebClient:
    made = DICOMwebClient(archive.base)
    made._session.trust_env = False
    return made


def test_nothing_that_the_client_can_do_is_left_out() -> None:
    public = {name for name, _ in inspect.getmembers(DICOMwebClient, callable) if not name.startswith("_")}
    assert set(USES) == public


@pytest.mark.parametrize("name", USES)
def test_a_method_of_the_client(client: DICOMwebClient, archive: Server, name: str) -> None:
    USES[name](client, archive)
