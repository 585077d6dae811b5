"""What a client may say about retrieving beside what it retrieves: conditions, encodings, archives, capabilities."""

from __future__ import annotations

import email
import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import httpx
import psutil
import pydicom
import pytest

from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10
from tests.support.real_files import real_file
from vna.dicom.multipart import write_related
from vna.gateways.dicomweb.app import ROUTES
from vna.gateways.dicomweb.links import BASE

STUDY = "/studies/1.2.3.1"
SERIES = f"{STUDY}/series/1.2.3.1.1"
INSTANCE = f"{SERIES}/instances/1.2.3.1.1.1"
FILES = {
    f"1.2.3.1.{series}/1.2.3.1.{series}.{number}.dcm": part10(number, series=series, pixels=bytes([number]) * 4000)
    for series in (1, 2)
    for number in (1, 2, 3)
}
COMPRESSED = real_file("SC_rgb_rle_2frame.dcm").read_bytes()
MIB = 1 << 20


def store(gateway: HttpGateway, files: list[bytes]) -> None:
    parts = (({"Content-Type": "application/dicom"}, (data,)) for data in files)
    content_type = 'multipart/related; type="application/dicom"; boundary="BB"'
    answer = gateway.client.post("/studies", content=write_related(parts, "BB"), headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    assert gateway.ingest().stored == len(files)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    # Memory is measured, so without what Python's development mode costs.
    gateway = HttpGateway(tmp_path_factory.mktemp("retrieve"), develop=False)
    store(gateway, [*FILES.values(), COMPRESSED])
    yield gateway
    assert gateway.stop() == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log, log


# --- conditional requests --------------------------------------------------------------------------------------------

TAGGED = {
    "study": (STUDY, "*/*"),
    "series": (SERIES, "*/*"),
    "instance": (INSTANCE, "application/dicom"),
    "zip": (STUDY, "application/zip"),
    "metadata of a study": (f"{STUDY}/metadata", "application/dicom+json"),
    "metadata": (f"{INSTANCE}/metadata", "application/dicom+json"),
    "frames": (f"{INSTANCE}/frames/1", 'multipart/related; type="application/octet-stream"'),
    "frame": (f"{INSTANCE}/frames/1", "application/octet-stream"),
    "pixel data of a study": (f"{STUDY}/pixeldata", "*/*"),
    "bulk data": (f"{INSTANCE}/bulkdata/7FE00010", "application/octet-stream"),
}


@pytest.mark.parametrize("name", TAGGED)
def test_what_a_client_has_is_not_sent_again(gateway: HttpGateway, name: str) -> None:
    url, accept = TAGGED[name]
    first = gateway.client.get(url, headers={"Accept": accept})
    assert first.status_code == 200
    tag = first.headers["etag"]
    assert re.fullmatch(r'(W/)?"[0-9a-f]{40}"', tag)
    assert "Accept" in first.headers["vary"]
    assert first.headers["cache-control"] == "private, no-cache"
    for condition in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
        answer = gateway.client.get(url, headers={"Accept": accept, "If-None-Match": condition})
        assert (answer.status_code, answer.content) == (304, b""), condition
        assert answer.headers["etag"].removeprefix("W/") == tag.removeprefix("W/")
    for condition in ('"other"', tag.strip('W/"'), ""):
        answer = gateway.client.get(url, headers={"Accept": accept, "If-None-Match": condition})
        assert answer.status_code == 200, condition
    assert gateway.client.get(url, headers={"Accept": accept}).headers["etag"] == tag


def test_another_form_has_another_tag(gateway: HttpGateway) -> None:
    forms = [(url, accept) for url, accept in TAGGED.values()]
    forms += [(INSTANCE, "application/dicom; transfer-syntax=*"), (f"{INSTANCE}/frames/1", "*/*")]
    tags = [gateway.client.get(url, headers={"Accept": accept}).headers["etag"] for url, accept in forms]
    assert len({tag.removeprefix("W/") for tag in tags}) == len(forms)


def test_a_study_that_grew_has_another_tag(gateway: HttpGateway) -> None:
    store(gateway, [part10(1, study=7)])
    url = "/studies/1.2.3.7/metadata"
    tag = gateway.client.get(url).headers["etag"]
    assert gateway.client.get(url, headers={"If-None-Match": tag}).status_code == 304
    store(gateway, [part10(2, study=7)])
    answer = gateway.client.get(url, headers={"If-None-Match": tag})
    assert (answer.status_code, len(answer.json())) == (200, 2)


@pytest.mark.parametrize("name", ["instance", "bulk data"])
def test_ranges_are_of_what_the_tag_names(gateway: HttpGateway, name: str) -> None:
    url, accept = TAGGED[name]
    whole = gateway.client.get(url, headers={"Accept": accept})
    tag = whole.headers["etag"]
    assert tag.startswith('"')
    fields = {"Accept": accept, "Range": "bytes=5-9"}
    for condition, status in ((tag, 206), (f"W/{tag}", 200), ('"other"', 200), ("Sat, 29 Oct 2022 19:43:31 GMT", 200)):
        answer = gateway.client.get(url, headers={**fields, "If-Range": condition})
        assert answer.status_code == status, condition
        assert answer.content == (whole.content[5:10] if status == 206 else whole.content)
        assert answer.headers["etag"] == tag
    assert gateway.client.get(url, headers={**fields, "If-None-Match": tag}).status_code == 304


def test_what_is_not_there_has_no_tag(gateway: HttpGateway) -> None:
    answer = gateway.client.get("/studies/1.2.3.99", headers={"If-None-Match": "*"})
    assert answer.status_code == 404
    assert "etag" not in answer.headers


@pytest.mark.parametrize("name", TAGGED)
def test_head_tells_what_get_would_send(gateway: HttpGateway, name: str) -> None:
    url, accept = TAGGED[name]
    head, get = (gateway.client.request(method, url, headers={"Accept": accept}) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers["content-type"].split(";")[0] == get.headers["content-type"].split(";")[0]
    if "content-length" in get.headers:
        assert head.headers.get("content-length") == get.headers["content-length"]


# --- content encodings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "accept"),
    [
        ("/instances?includefield=all", "application/dicom+json"),
        ("/instances?includefield=all", 'multipart/related; type="application/dicom+xml"'),
        (f"{STUDY}/metadata", "application/dicom+json"),
        (f"{STUDY}/metadata", 'multipart/related; type="application/dicom+xml"'),
    ],
)
def test_json_and_xml_are_compressed_if_asked(gateway: HttpGateway, url: str, accept: str) -> None:
    answers = {}
    for encoding in ("gzip", "identity"):
        request = gateway.client.build_request("GET", url, headers={"Accept": accept, "Accept-Encoding": encoding})
        answer = gateway.client.send(request, stream=True)
        answers[encoding] = (b"".join(answer.iter_raw()), answer.headers)
        answer.close()
    packed, headers = answers["gzip"]
    plain, plain_headers = answers["identity"]
    assert headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain_headers
    assert "Accept-Encoding" in plain_headers["vary"]
    assert len(packed) < len(plain) / 2
    boundary = rb"(?<=--)[0-9A-Za-z'()+_,./:=?-]{8,}?(?=(--)?\r\n)"
    assert re.sub(boundary, b"", gzip.decompress(packed)) == re.sub(boundary, b"", plain)


@pytest.mark.parametrize("name", ["study", "instance", "zip", "frame", "frames", "bulk data"])
def test_dicom_and_pixels_are_not_compressed(gateway: HttpGateway, name: str) -> None:
    url, accept = TAGGED[name]
    answer = gateway.client.get(url, headers={"Accept": accept, "Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


# --- bulk data -------------------------------------------------------------------------------------------------------


def parts_of(answer: httpx.Response) -> list[tuple[str, str, bytes]]:
    """Return type, place and content of each part."""
    assert answer.status_code == 200, answer.text
    message = email.message_from_bytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [
        (str(part["content-type"]), str(part["content-location"]), bytes(part.get_payload(decode=True)))
        for part in parts
        if isinstance(part, email.message.Message)
    ]


@pytest.mark.parametrize("resource", ["bulkdata", "pixeldata"])
def test_bulk_values_of_a_study_a_series_and_an_instance(gateway: HttpGateway, resource: str) -> None:
    for url, count in ((STUDY, 6), (SERIES, 3), (INSTANCE, 1)):
        parts = parts_of(gateway.client.get(f"{url}/{resource}"))
        assert len(parts) == count
        for content_type, place, value in parts:
            assert content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
            assert place.startswith(gateway.base + url)
            assert gateway.client.get(place, headers={"Accept": "application/octet-stream"}).content == value


def test_compressed_pixels_are_decoded_or_come_as_stored(gateway: HttpGateway) -> None:
    (found,) = [each for each in gateway.client.get("/studies").json() if "1.2.3." not in each["0020000D"]["Value"][0]]
    url = f"/studies/{found['0020000D']['Value'][0]}/pixeldata"
    ((_, _, decoded),) = parts_of(gateway.client.get(url))
    assert decoded == pydicom.dcmread(io.BytesIO(COMPRESSED)).pixel_array.tobytes()
    related = 'multipart/related; type="application/octet-stream"; transfer-syntax='
    stored = parts_of(gateway.client.get(url, headers={"Accept": f"{related}*"}))
    assert [place.rpartition("/frames/")[2] for _, place, _ in stored] == ["1", "2"]
    frames = pydicom.encaps.generate_frames(pydicom.dcmread(io.BytesIO(COMPRESSED)).PixelData, number_of_frames=2)
    # The reader of MIME takes a line's end at the end of a part for its own.
    assert [value.rstrip() for _, _, value in stored] == [frame.rstrip() for frame in frames]
    assert gateway.client.get(url, headers={"Accept": f"{related}1.2.840.10008.1.2.4.90"}).status_code == 406
    assert gateway.client.get(url, headers={"Accept": "image/gif"}).status_code == 406


# --- archives --------------------------------------------------------------------------------------------------------


def zip_of(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_study_as_zip(gateway: HttpGateway) -> None:
    answer = gateway.client.get(STUDY, headers={"Accept": "application/zip"})
    assert zip_of(answer) == FILES
    assert answer.headers["content-disposition"] == 'attachment; filename="1.2.3.1.zip"'


def test_a_series_and_an_instance_as_zip(gateway: HttpGateway) -> None:
    series = gateway.client.get(SERIES, params={"accept": "application/zip"})
    assert zip_of(series) == {name: data for name, data in FILES.items() if name.startswith("1.2.3.1.1/")}
    assert 'filename="1.2.3.1.1.zip"' in series.headers["content-disposition"]
    assert len(zip_of(gateway.client.get(INSTANCE, headers={"Accept": "application/zip"}))) == 1


def test_a_zip_holds_what_was_received_or_what_is_asked_for(gateway: HttpGateway) -> None:
    (found,) = [each for each in gateway.client.get("/studies").json() if "1.2.3." not in each["0020000D"]["Value"][0]]
    url = f"/studies/{found['0020000D']['Value'][0]}"
    assert list(zip_of(gateway.client.get(url, headers={"Accept": "application/zip"})).values()) == [COMPRESSED]
    native = "application/zip; transfer-syntax=1.2.840.10008.1.2.1"
    (decoded,) = zip_of(gateway.client.get(url, headers={"Accept": native})).values()
    assert b"1.2.840.10008.1.2.1\0" in decoded[:400]
    assert len(decoded) > len(COMPRESSED)
    refused = gateway.client.get(url, headers={"Accept": "application/zip; transfer-syntax=1.2.840.10008.1.2.4.90"})
    assert refused.status_code == 406


def test_memory_does_not_grow_with_the_archive(gateway: HttpGateway) -> None:
    large = [part10(number, study=8, pixels=bytes([number]) * (16 * MIB)) for number in range(1, 13)]
    for data in large:
        store(gateway, [data])
    process = psutil.Process(gateway.process.pid)
    gateway.client.get(STUDY, headers={"Accept": "application/zip"})
    before = process.memory_info().rss
    peak = size = 0
    with gateway.client.stream("GET", "/studies/1.2.3.8", headers={"Accept": "application/zip"}) as answer:
        assert answer.status_code == 200
        for number, piece in enumerate(answer.iter_raw(MIB)):
            size += len(piece)
            peak = max(peak, process.memory_info().rss) if number % 4 == 0 else peak
    assert size > sum(map(len, large))
    assert peak - before < 24 * MIB


# --- capabilities ----------------------------------------------------------------------------------------------------

WADL = "{http://wadl.dev.java.net/2009/02}"


def methods_of(element: ET.Element, path: str = "") -> dict[str, set[str]]:
    """Return the methods of each resource below an element of a WADL document."""
    found: dict[str, set[str]] = {}
    for resource in element.findall(f"{WADL}resource"):
        own = f"{path}/{resource.get('path')}"
        methods = {str(method.get("name")) for method in resource.findall(f"{WADL}method")}
        found |= ({own: methods} if methods else {}) | methods_of(resource, own)
    return found


@pytest.mark.parametrize("url", ["", "/"])
def test_capabilities_are_the_routes(gateway: HttpGateway, url: str) -> None:
    answer = httpx.options(gateway.base + url, trust_env=False)
    assert answer.headers["content-type"] == "application/vnd.sun.wadl+xml"
    root = ET.fromstring(answer.text)
    assert root.tag == f"{WADL}application"
    (resources,) = root
    assert resources.get("base") == gateway.base
    expected: dict[str, set[str]] = {}
    for method, path, *_ in ROUTES:
        if path.startswith(f"{BASE}/"):
            expected.setdefault(path.removeprefix(BASE), set()).add(method)
    assert methods_of(resources) == expected


def test_capabilities_of_a_resource_and_below(gateway: HttpGateway) -> None:
    answer = httpx.options(f"{gateway.base}{SERIES}", trust_env=False)
    assert {"GET", "HEAD", "OPTIONS"} <= set(answer.headers["allow"].split(", "))
    (resources,) = ET.fromstring(answer.text)
    (resource,) = resources
    assert resource.get("path") == "studies/{study}/series/{series}"
    assert {param.get("name") for param in resource.findall(f"{WADL}param")} == {"study", "series"}
    assert f"{WADL}resource" in {child.tag for child in resource}


def test_capabilities_name_media_types_and_keys_that_are_so(gateway: HttpGateway) -> None:
    answer = httpx.options(gateway.base, headers={"Accept": "application/json"}, trust_env=False)
    tree = answer.json()["application"]["resources"]
    (studies,) = [resource for resource in tree["resource"] if resource["path"] == "studies"]
    (search,) = [method for method in studies["method"] if method["id"] == "search-studies"]
    keys = [param["name"] for param in search["request"]["param"] if param["style"] == "query"]
    assert {"PatientName", "StudyDate", "fuzzymatching", "limit"} <= set(keys)
    for media_type in search["response"][0]["representation"]:
        found = gateway.client.get("/studies", headers={"Accept": media_type["mediaType"]})
        assert found.status_code == 200
        assert found.headers["content-type"].startswith(media_type["mediaType"])
    for key in keys:
        value = {"limit": "1", "offset": "0", "charset": "utf-8"}.get(key, "false" if key.endswith("matching") else "")
        assert gateway.client.get("/studies", params={key: value}).status_code == 200, key


def test_capabilities_in_another_form_are_refused(gateway: HttpGateway) -> None:
    assert httpx.options(gateway.base, headers={"Accept": "text/plain"}, trust_env=False).status_code == 406
    assert httpx.options(f"{gateway.base}/nothing", trust_env=False).status_code == 404
