"""Store requests of metadata and bulk data: what comes back is what was sent, and what is wrong is refused alone."""

from __future__ import annotations

import copy
import io
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.uid import generate_uid

from tests.support.http_gateway import HttpGateway
from tests.support.ports import wait_until
from tests.support.real_files import real_file

MIB = 1 << 20
JSON = "application/dicom+json"
XML = "application/dicom+xml"
OCTETS = "application/octet-stream"
Part = tuple[dict[str, str], bytes]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(
        tmp_path_factory.mktemp("stow"),
        VNA_HTTP__MAX_PART_BYTES=str(8 * MIB),
        VNA_HTTP__MAX_METADATA_BYTES=str(MIB),
        VNA_HTTP__MAX_PARTS="150",
    )
    yield gateway
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log.read_text(), gateway.log.read_text()


@pytest.fixture
def gateway(shared: HttpGateway) -> HttpGateway:
    shared.archive.spool.finish(list(shared.archive.spool.entries()))
    return shared


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def spooled(gateway: HttpGateway) -> list[pydicom.Dataset]:
    """Return what was made durable; nothing else may lie in the spool."""
    wait_until(lambda: not list(gateway.archive.spool.partial.iterdir()), 5, "nothing is left half received")
    return [read(gateway.archive.spool.source(entry).read()) for entry in gateway.archive.spool.entries()]


class Source:
    """A real file as metadata and bulk data, made by pydicom, with UIDs of its own."""

    def __init__(self, name: str) -> None:
        self.data_set = pydicom.dcmread(real_file(name))
        self.data_set.SOPInstanceUID = generate_uid()
        self.data_set.StudyInstanceUID = generate_uid()
        self.syntax = str(self.data_set.file_meta.TransferSyntaxUID)
        self.bulk: dict[str, bytes] = {}
        self.metadata: dict[str, Any] = self.data_set.to_json_dict(1000, self._uri)

    def _uri(self, element: pydicom.DataElement) -> str:
        uri = f"bulk/{self.data_set.SOPInstanceUID}/{element.tag:08X}"
        self.bulk[uri] = element.value
        return uri

    @property
    def pixels(self) -> str:
        """URI of the pixel data."""
        return str(self.metadata["7FE00010"]["BulkDataURI"])

    def frames(self) -> list[bytes]:
        return list(generate_frames(self.data_set.PixelData, number_of_frames=self.data_set.get("NumberOfFrames", 1)))

    def octets(self) -> list[Part]:
        """The bulk data as parts, uncompressed."""
        return [({"Content-Type": OCTETS, "Content-Location": uri}, value) for uri, value in self.bulk.items()]


def as_json(*sources: Source) -> Part:
    return {"Content-Type": JSON}, json.dumps([source.metadata for source in sources]).encode()


def body_of(parts: list[Part]) -> bytes:
    out = b""
    for headers, content in parts:
        out += b"--BB\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"
        out += content + b"\r\n"
    return out + b"--BB--\r\n"


def send(
    gateway: HttpGateway, *parts: Part, kind: str = JSON, path: str = "/studies", **headers: str
) -> httpx.Response:
    content_type = f'multipart/related; type="{kind}"; boundary=BB'
    return gateway.client.post(path, content=body_of(list(parts)), headers={"Content-Type": content_type, **headers})


def failures(answer: httpx.Response) -> dict[str, int]:
    items = answer.json().get("00081198", {}).get("Value", [])
    return {item["00081155"]["Value"][0]: item["00081197"]["Value"][0] for item in items}


def others(answer: httpx.Response) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json().get("0008119A", {}).get("Value", [])]


def same(found: pydicom.Dataset, sent: pydicom.Dataset) -> None:
    """Compare element by element; the texts may be in another character set."""
    for data_set in (found, sent):
        data_set.decode()
    for element in sent:
        if element.tag in {0x00080005, 0x7FE00010}:
            continue
        assert element.tag in found, element
        there = found[element.tag]
        assert (there.VR, there.value) == (element.VR, element.value), element.tag
    assert len(found) - len(sent) in {0, 1}


@pytest.mark.parametrize("name", ["CT_small.dcm", "color3d_jpeg_baseline.dcm", "MR_small.dcm", "chrH31.dcm"])
def test_json_by_pydicom_becomes_the_instance_it_was_made_of(gateway: HttpGateway, name: str) -> None:
    source = Source(name)
    parts = source.octets()
    compressed = "PixelData" in source.data_set and source.data_set["PixelData"].is_undefined_length
    if compressed:
        kind = f"image/jpeg; transfer-syntax={source.syntax}"
        frames = [({"Content-Type": kind, "Content-Location": source.pixels}, frame) for frame in source.frames()]
        parts = [part for part in parts if part[0]["Content-Location"] != source.pixels] + frames
    answer = send(gateway, as_json(source), *parts)
    assert answer.status_code == 200, (answer.text, answer.headers)
    (item,) = answer.json()["00081199"]["Value"]
    assert item["00081155"]["Value"] == [source.data_set.SOPInstanceUID]
    (found,) = spooled(gateway)
    assert found.file_meta.MediaStorageSOPInstanceUID == source.data_set.SOPInstanceUID
    assert found.file_meta.TransferSyntaxUID == (source.syntax if compressed else "1.2.840.10008.1.2.1")
    same(found, source.data_set)
    if "PixelData" in found:
        assert found.pixel_array.tobytes() == source.data_set.pixel_array.tobytes()


def test_xml_by_dcmtk_becomes_the_instance_it_was_made_of(gateway: HttpGateway, tmp_path: Path) -> None:
    source = Source("CT_small.dcm")
    path = tmp_path / "ct.dcm"
    source.data_set.save_as(path)
    subprocess.run(["/usr/bin/dcm2xml", "-nat", str(path), f"{path}.xml"], check=True)
    text = Path(f"{path}.xml").read_text("latin-1")
    parts = []
    for tag, creator, uuid in re.findall(
        r'tag="(\w{8})" vr="\w\w"(?:.*?privateCreator="([^"]*)")?[^>]*>\s*<BulkData uuid="([^"]+)"', text
    ):
        block = source.data_set.private_block(int(tag[:4], 16), creator) if creator else None
        number = block.get_tag(int(tag[6:], 16)) if block else int(tag, 16)
        parts.append(({"Content-Type": OCTETS, "Content-Location": uuid}, source.data_set[number].value))
    assert len(parts) > 1
    answer = send(gateway, ({"Content-Type": XML}, text.encode("latin-1")), *parts, kind=XML, Accept=XML)
    assert answer.status_code == 200, (answer.text, answer.headers)
    assert answer.headers["content-type"] == XML
    (found,) = spooled(gateway)
    same(found, source.data_set)
    assert found.PixelData == source.data_set.PixelData


def test_several_instances_of_xml_have_a_part_each(gateway: HttpGateway) -> None:
    first, second = Source("CT_small.dcm"), Source("MR_small.dcm")

    def xml(source: Source) -> Part:
        values = "".join(
            f'<DicomAttribute tag="{tag}" vr="{field["vr"]}"><Value>{field["Value"][0]}</Value></DicomAttribute>'
            for tag, field in source.metadata.items()
            if tag in {"00080016", "00080018", "0020000D", "0020000E", "00280010", "00280011", "00280100"}
        )
        pixels = f'<DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="{source.pixels}"/></DicomAttribute>'
        return {"Content-Type": XML}, f"<NativeDicomModel>{values}{pixels}</NativeDicomModel>".encode()

    pixels = [({"Content-Location": each.pixels}, each.data_set.PixelData) for each in (second, first)]
    answer = send(gateway, xml(first), xml(second), *pixels, kind=XML)
    assert answer.status_code == 200, (answer.text, answer.headers)
    found = {each.SOPInstanceUID: each.PixelData for each in spooled(gateway)}
    assert found == {each.data_set.SOPInstanceUID: each.data_set.PixelData for each in (first, second)}


def test_what_was_sent_comes_back_by_wado_with_the_same_pixels(gateway: HttpGateway) -> None:
    """The frames of a retrieval are sent as they came, and the archive has the same frames again."""
    source = Source("color3d_jpeg_baseline.dcm")
    frames = source.frames()
    assert len(frames) > 10
    uri = f"{gateway.base}/studies/1.2/series/1.3/instances/1.4"
    source.metadata["7FE00010"]["BulkDataURI"] = f"{uri}/bulkdata/7FE00010"
    parts = [
        ({"Content-Type": "image/jpeg", "Content-Location": f"{uri}/frames/{number}"}, frame.rstrip(b"\0"))
        for number, frame in enumerate(frames[:40], 1)
    ]
    source.metadata["00280008"]["Value"] = [len(parts)]
    answer = send(gateway, as_json(source), *reversed(parts))
    assert answer.status_code == 200, (answer.text, answer.headers)
    (found,) = spooled(gateway)
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    offsets = parse_basic_offsets(found.PixelData)
    assert len(offsets) == len(parts)
    assert all(offset % 2 == 0 for offset in offsets)
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert gateway.ingest().stored == 1
    *_, study, _, series, _, instance = url.split("/")
    client = DICOMwebClient(gateway.base)
    back = client.retrieve_instance_frames(study, series, instance, [1, 7, 40], media_types=("image/jpeg",))
    assert [each.rstrip(b"\0") for each in back] == [frames[number].rstrip(b"\0") for number in (0, 6, 39)]


def test_a_foreign_client_stores_and_has_the_same_pixels(gateway: HttpGateway) -> None:
    client = DICOMwebClient(gateway.base)
    part10, metadata = Source("CT_small.dcm"), Source("CT_small.dcm")
    part10.data_set.file_meta.MediaStorageSOPInstanceUID = part10.data_set.SOPInstanceUID
    answer = client.store_instances([part10.data_set])
    assert [each.ReferencedSOPInstanceUID for each in answer.ReferencedSOPSequence] == [part10.data_set.SOPInstanceUID]
    assert send(gateway, as_json(metadata), *metadata.octets()).status_code == 200
    assert gateway.ingest().stored == 2
    for source in (part10, metadata):
        sent = source.data_set
        back = client.retrieve_instance(sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID)
        assert back.PixelData == sent.PixelData
        assert back.PatientName == sent.PatientName


def test_no_bulk_data_needs_no_multipart(gateway: HttpGateway) -> None:
    source = Source("reportsi.dcm")
    body = json.dumps([source.metadata]).encode()
    assert gateway.client.post("/studies", content=body, headers={"Content-Type": JSON}).status_code == 200
    (found,) = spooled(gateway)
    same(found, source.data_set)


def wrong(change: str, source: Source) -> list[Part]:
    """Change metadata or parts of a source; return its parts."""
    metadata, parts = source.metadata, source.octets()
    by = {headers["Content-Location"]: number for number, (headers, _content) in enumerate(parts)}
    pixels = by[source.pixels]
    headers, content = parts[pixels]
    match change:
        case "missing":
            del parts[pixels]
        case "twice":
            parts.append(parts[pixels])
        case "short":
            parts[pixels] = headers, content[:-2]
        case "long":
            parts[pixels] = headers, content + b"\0\0"
        case "empty":
            parts[pixels] = headers, b""
        case "no rows":
            del metadata["00280010"]
        case "no class":
            del metadata["00080016"]
        case "no study":
            metadata["0020000D"] = {"vr": "UI"}
        case "a uid that is none":
            metadata["0020000D"]["Value"] = ["../../etc"]
        case "class":
            metadata["00080016"]["Value"] = ["1.2.840.10008.1.1"]
        case "frames":
            parts[pixels] = {**headers, "Content-Type": "image/jpeg"}, content
            metadata["00280008"] = {"vr": "IS", "Value": [2]}
        case "type":
            parts[pixels] = {**headers, "Content-Type": "image/png"}, content
        case "big endian":
            parts[pixels] = {**headers, "Content-Type": f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.2"}, content
        case "type and syntax":
            kind = "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.50"
            parts[pixels] = {**headers, "Content-Type": kind}, content
        case "tag":
            metadata["PatientID"] = {"vr": "LO"}
        case "vr":
            metadata["00100020"] = {"vr": "ZZ", "Value": ["1"]}
        case "number":
            metadata["00280010"] = {"vr": "US", "Value": [128.5]}
        case "text":
            metadata["00100020"] = {"vr": "LO", "Value": [{"a": 1}]}
        case "base64":
            metadata["00091001"] = {"vr": "OB", "InlineBinary": "%%%"}
        case "both":
            metadata["00091001"] = {"vr": "OB", "InlineBinary": "AAAA", "BulkDataURI": source.pixels}
        case "inline":
            metadata["7FE00010"] = {"vr": "OW", "InlineBinary": "AAAA"}
            del parts[pixels]
        case "deep":
            metadata["00100020"] = {"vr": "LO", "Value": json.loads("[" * 500 + "]" * 500)}
        case "item":
            metadata["00081140"] = {"vr": "SQ", "Value": ["x"]}
        case _:
            raise AssertionError(change)
    return parts


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ("missing", 0xC000, "no part has the Content-Location"),
        ("twice", 0xC000, "part 4, part 5 have the same Content-Location"),
        ("short", 0xA900, "has 32766 bytes; 128 rows, 128 columns, 1 samples of 16 bits and 1 frames make 32768"),
        ("long", 0xA900, "has 32770 bytes"),
        ("empty", 0xA900, "has 0 bytes"),
        ("no rows", 0xA900, "Rows, Columns or Bits Allocated"),
        ("no class", 0xC000, "no SOP Class UID"),
        ("no study", 0xC000, "no Study Instance UID"),
        ("a uid that is none", 0xC000, "no Study Instance UID"),
        ("class", 0x0122, "1.2.840.10008.1.1 is no SOP class"),
        ("frames", 0xA900, "Number of Frames is 2"),
        ("type", 0xC122, "image/png is not supported for pixel data"),
        ("big endian", 0xC122, "transfer syntax 1.2.840.10008.1.2.2"),
        ("type and syntax", 0xC122, "image/jp2 with transfer syntax 1.2.840.10008.1.2.4.50"),
        ("tag", 0xC000, "'PatientID' is no tag"),
        ("vr", 0xC000, "PatientID (0010,0020): VR 'ZZ'"),
        ("number", 0xC000, "Rows (0028,0010): a value is no number of VR US"),
        ("text", 0xC000, "PatientID (0010,0020): a value is dict"),
        ("base64", 0xC000, "(0009,1001)"),
        ("both", 0xC000, "more than one of Value, InlineBinary"),
        ("inline", 0xA900, "has 3 bytes"),
        ("deep", 0xC000, "PatientID (0010,0020)"),
        ("item", 0xC000, "no data set"),
    ],
)
def test_an_instance_that_is_wrong_is_refused_alone(gateway: HttpGateway, change: str, reason: int, says: str) -> None:
    bad, good = Source("CT_small.dcm"), Source("MR_small.dcm")
    bad.bulk, good.bulk = dict(bad.bulk), dict(good.bulk)
    parts = wrong(change, bad)
    answer = send(gateway, as_json(bad, good), *parts[:1], *good.octets(), *parts[1:])
    assert answer.status_code == 202, (answer.text, answer.headers)
    assert failures(answer) == {bad.data_set.SOPInstanceUID: reason}
    assert says in answer.headers["warning"], answer.headers["warning"]
    assert "instance 1: " in answer.headers["warning"]
    (found,) = spooled(gateway)
    assert found.SOPInstanceUID == good.data_set.SOPInstanceUID
    alone = send(gateway, as_json(bad), *parts)
    assert alone.status_code == 409
    assert len(spooled(gateway)) == 1


def test_bulk_data_that_nothing_names_is_told(gateway: HttpGateway) -> None:
    source = Source("CT_small.dcm")
    stray: Part = ({"Content-Type": OCTETS, "Content-Location": "bulk/of/nobody"}, b"\0" * 10)
    nameless: Part = ({"Content-Type": OCTETS}, b"\0" * 10)
    answer = send(gateway, as_json(source), stray, nameless, *source.octets())
    assert answer.status_code == 202
    assert others(answer) == [0xC000, 0xC000]
    assert "part 2: no BulkDataURI is 'bulk/of/nobody'" in answer.headers["warning"]
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert len(spooled(gateway)) == 1


def test_into_a_study(gateway: HttpGateway) -> None:
    right, other = Source("CT_small.dcm"), Source("MR_small.dcm")
    path = f"/studies/{right.data_set.StudyInstanceUID}"
    answer = send(gateway, as_json(other, right), *right.octets(), *other.octets(), path=path)
    assert answer.status_code == 202
    assert failures(answer) == {other.data_set.SOPInstanceUID: 0xA900}
    assert len(spooled(gateway)) == 1


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        (JSON, b"[]", "no data set"),
        (JSON, b"", "no JSON"),
        (JSON, b"{", "no JSON"),
        (JSON, b"1", "neither an array nor an object"),
        (XML, b"<x/>", "not NativeDicomModel"),
        (XML, b"<NativeDicomModel>", "no XML"),
        (XML, b'<!DOCTYPE x [<!ENTITY a "b">]><NativeDicomModel/>', "document type"),
        (OCTETS, b"", "no metadata"),
    ],
)
def test_metadata_that_is_none(gateway: HttpGateway, kind: str, content: bytes, says: str) -> None:
    answer = send(gateway, ({"Content-Type": kind}, content))
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["detail"]
    assert spooled(gateway) == []


def test_limits(gateway: HttpGateway) -> None:
    source = Source("CT_small.dcm")
    for parts, setting in (
        ([({"Content-Type": JSON}, b" " * (MIB + 1))], "VNA_HTTP__MAX_METADATA_BYTES"),
        ([as_json(source), ({"Content-Location": "x"}, bytes(9 * MIB))], "VNA_HTTP__MAX_PART_BYTES"),
        ([as_json(source), *[({"Content-Location": "x"}, b"")] * 150], "VNA_HTTP__MAX_PARTS"),
    ):
        answer = send(gateway, *parts)
        assert answer.status_code == 413
        assert setting in answer.json()["detail"]
    assert spooled(gateway) == []


def test_a_body_that_is_cut_leaves_nothing(gateway: HttpGateway) -> None:
    source = Source("CT_small.dcm")
    body = body_of([as_json(source), *source.octets()])
    content_type = f'multipart/related; type="{JSON}"; boundary=BB'
    for cut in (100, len(body) // 2, len(body) - 9):
        answer = gateway.client.post("/studies", content=body[:cut], headers={"Content-Type": content_type})
        assert answer.status_code == 400
    with socket.create_connection(("127.0.0.1", gateway.port)) as peer:
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        peer.sendall(head.encode() + b"Content-Length: 9999999\r\n\r\n" + body[:-9] + bytes(2 * MIB))
    wait_until(lambda: "went away" in gateway.log.read_text(), 10, "the gateway has seen that the client is gone")
    assert spooled(gateway) == []
    assert send(gateway, as_json(source), *source.octets()).status_code == 200
    assert len(spooled(gateway)) == 1


def test_odd_lengths_are_padded_and_texts_are_in_utf_8(gateway: HttpGateway) -> None:
    source = Source("CT_small.dcm")
    metadata = copy.deepcopy(source.metadata)
    metadata |= {
        "00280010": {"vr": "US", "Value": [3]},
        "00280011": {"vr": "US", "Value": [3]},
        "00280100": {"vr": "US", "Value": [8]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jürg", "Ideographic": "山田"}]},
        "00100020": {"vr": "LO", "Value": ["abc"]},
        "00111010": {"vr": "OB", "InlineBinary": "AQID"},
    }
    source.metadata, source.bulk = metadata, {**source.bulk, source.pixels: b"123456789"}
    assert send(gateway, as_json(source), *source.octets()).status_code == 200
    (found,) = spooled(gateway)
    assert found.PixelData == b"123456789\0"
    assert found[0x00111010].value == b"\x01\x02\x03\0"
    assert str(found.PatientName) == "Müller^Jürg=山田"
    assert found.PatientID == "abc"
    assert found.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.slow
def test_memory_does_not_grow_with_bulk_data(tmp_path: Path) -> None:
    """Bulk data of 600 MiB comes in; the process stays below 200 MiB."""
    gateway = HttpGateway(tmp_path, develop=False)
    process = psutil.Process(gateway.process.pid)
    peak = 0
    source = Source("CT_small.dcm")
    source.metadata["00280010"]["Value"] = source.metadata["00280011"]["Value"] = [1024]
    source.metadata["00280008"] = {"vr": "IS", "Value": [300]}
    head, content = as_json(source)
    first = [(head, content), *(part for part in source.octets() if part[0]["Content-Location"] != source.pixels)]

    def body() -> Iterator[bytes]:
        nonlocal peak
        yield body_of(first).removesuffix(b"--BB--\r\n")
        yield f"--BB\r\nContent-Location: {source.pixels}\r\n\r\n".encode()
        for _ in range(600):
            yield bytes(MIB)
            peak = max(peak, process.memory_info().rss)
        yield b"\r\n--BB--\r\n"

    try:
        content_type = f'multipart/related; type="{JSON}"; boundary=BB'
        with ThreadPoolExecutor(1) as thread:
            sent = thread.submit(
                gateway.client.post, "/studies", content=body(), headers={"Content-Type": content_type}
            )
            while not sent.done():
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.02)
        assert sent.result().status_code == 200, sent.result().text
        (entry,) = gateway.archive.spool.entries()
        assert entry.length > 600 * MIB
        assert peak < 200 * MIB, f"{peak / MIB:.0f} MiB"
    finally:
        assert gateway.stop() == 0
