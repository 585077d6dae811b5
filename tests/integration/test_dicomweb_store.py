"""Store requests: what is kept, what is refused, and that nothing is half kept."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pydicom
import pytest
from pydicom.uid import generate_uid

from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10, spool_one
from tests.support.ports import wait_until
from tests.support.real_files import real_file

CT = real_file("CT_small.dcm").read_bytes()
MR = real_file("MR_small.dcm").read_bytes()
RELATED = 'multipart/related; type="application/dicom"; boundary=BB'
MIB = 1 << 20


def body_of(*parts: bytes, newline: bytes = b"\r\n", content_type: bytes = b"application/dicom") -> bytes:
    head = b"--BB" + newline + b"Content-Type: " + content_type + newline * 2
    return b"".join(head + part + newline for part in parts) + b"--BB--" + newline


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("stow"), VNA_HTTP__MAX_PART_BYTES=str(64 * MIB))
    yield gateway
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log.read_text(), gateway.log.read_text()


@pytest.fixture
def gateway(shared: HttpGateway) -> HttpGateway:
    shared.archive.spool.finish(list(shared.archive.spool.entries()))
    for path in shared.archive.spool.partial.iterdir():
        path.unlink()
    return shared


def spooled(gateway: HttpGateway) -> list[bytes]:
    """Return what was made durable; nothing else may lie in the spool."""
    wait_until(lambda: not list(gateway.archive.spool.partial.iterdir()), 5, "no part is left half received")
    return sorted(gateway.archive.spool.source(entry).read() for entry in gateway.archive.spool.entries())


def send(
    gateway: HttpGateway,
    body: bytes | Iterable[bytes],
    content_type: str = RELATED,
    path: str = "/studies",
    **headers: str,
) -> httpx.Response:
    return gateway.client.post(path, content=body, headers={"Content-Type": content_type, **headers})


def reasons(answer: httpx.Response) -> list[int]:
    data = answer.json()
    items = [item for tag in ("00081198", "0008119A") for item in data.get(tag, {}).get("Value", [])]
    return [item["00081197"]["Value"][0] for item in items]


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related; type="application/dicom"; boundary=BB',
        'multipart/related; boundary="BB"; type=application/dicom',
        "Multipart/Related;Boundary=BB",
    ],
)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_ways_to_write_a_multipart(gateway: HttpGateway, content_type: str, newline: bytes) -> None:
    answer = send(gateway, body_of(CT, MR, newline=newline), content_type)
    assert answer.status_code == 200, answer.text
    assert spooled(gateway) == sorted([CT, MR])
    study = gateway.archive.spool.entries()
    assert {entry.origin.protocol for entry in study} == {"stow"}


def test_a_single_instance_without_multipart(gateway: HttpGateway) -> None:
    answer = send(gateway, CT, "application/dicom")
    assert answer.status_code == 200
    (item,) = answer.json()["00081199"]["Value"]
    data_set = pydicom.dcmread(io.BytesIO(CT))
    assert item["00081150"]["Value"] == [data_set.SOPClassUID]
    assert item["00081155"]["Value"] == [data_set.SOPInstanceUID]
    assert item["00081190"]["Value"][0].endswith(f"/instances/{data_set.SOPInstanceUID}")
    assert answer.json()["00081190"]["Value"] == [f"{gateway.base}/studies/{data_set.StudyInstanceUID}"]
    assert spooled(gateway) == [CT]


def test_the_answer_as_native_dicom_model(gateway: HttpGateway) -> None:
    answer = send(gateway, body_of(CT), Accept="application/dicom+xml")
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert 'keyword="ReferencedSOPSequence"' in answer.text


def test_what_is_sent_in_pieces_of_any_size(gateway: HttpGateway) -> None:
    body = body_of(CT, MR)

    def pieces(size: int) -> Iterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    for size in (997, 65_536):
        assert send(gateway, pieces(size)).status_code == 200
    assert spooled(gateway) == sorted([CT, MR] * 2)


def test_a_body_that_ends_early_is_refused_and_what_was_whole_is_kept(gateway: HttpGateway) -> None:
    body = body_of(MR, CT[:2000])
    second = len(body_of(MR)) - len(b"--BB--\r\n")
    cuts = [0, 1, 3, 5, 6, 20, 40, 60, 200, 5000, second - 2, second, second + 30, len(body) - 9, len(body) - 5]
    for cut in cuts:
        answer = send(gateway, body[:cut])
        assert answer.status_code == 400, (cut, answer.text)
        assert answer.json()["error"] == "invalid-input"
        assert all(kept == MR for kept in spooled(gateway)), cut
    assert len(spooled(gateway)) == sum(cut > second for cut in cuts)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("", b"x", 415),
        ("text/plain", b"x", 415),
        ("multipart/form-data; boundary=BB", body_of(CT), 415),
        ("multipart/related; type=image/jpeg; boundary=BB", body_of(CT), 415),
        ('multipart/related; type="application/dicom"', body_of(CT), 400),
        ('multipart/related; type="application/dicom"; boundary=other', body_of(CT), 400),
        (RELATED, b"", 400),
        (RELATED, b"--BB--\r\n", 400),
        ("application/dicom", b"", 400),
    ],
)
def test_requests_that_are_none(gateway: HttpGateway, content_type: str, body: bytes, status: int) -> None:
    answer = send(gateway, body, content_type)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "detail"}
    assert spooled(gateway) == []


def test_a_media_type_that_is_not_supported_is_told_which_are(gateway: HttpGateway) -> None:
    answer = send(gateway, b"x", "image/jpeg")
    assert answer.status_code == 415
    for name in ("application/dicom", "application/dicom+json", "application/dicom+xml"):
        assert f'multipart/related; type="{name}"' in answer.json()["detail"]
        assert name in answer.headers["accept"]


def test_a_body_that_is_encoded_is_refused(gateway: HttpGateway) -> None:
    answer = send(gateway, body_of(CT), **{"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert "Content-Encoding gzip" in answer.json()["detail"]


def test_a_transfer_syntax_that_is_none_does_not_end_a_header_field(gateway: HttpGateway) -> None:
    data_set = pydicom.dcmread(io.BytesIO(CT))
    data_set.StudyInstanceUID, data_set.SOPInstanceUID = "1.2.66", "1.2.66.1"
    out = io.BytesIO()
    data_set.save_as(out)
    wrong = out.getvalue().replace(b"1.2.840.10008.1.2.1\0", b"1.2\r\nX-Injected: yes")
    assert len(wrong) == len(out.getvalue())
    assert send(gateway, body_of(wrong)).status_code == 200
    assert gateway.ingest().stored == 1
    url = f"/studies/1.2.66/series/{data_set.SeriesInstanceUID}/instances/1.2.66.1"
    single = gateway.client.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert single.content == wrong
    assert "x-injected" not in single.headers
    related = gateway.client.get(
        url, headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    )
    assert b"X-Injected" not in related.content.replace(wrong, b"")


def test_pixels_that_cannot_be_decoded_are_had_as_stored_alone(gateway: HttpGateway) -> None:
    raw = real_file("JPEG-lossy.dcm").read_bytes()
    answer = send(gateway, body_of(raw))
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert gateway.ingest().stored == 1
    assert gateway.client.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}).content == raw
    for path, accept in (("", "application/dicom"), ("/frames/1", "application/octet-stream")):
        refused = gateway.client.get(url + path, headers={"Accept": accept})
        assert refused.status_code == 406
        assert "cannot be decoded" in refused.json()["detail"]
    frame = gateway.client.get(f"{url}/frames/1", headers={"Accept": "image/jpeg"})
    assert frame.status_code == 200
    assert frame.content in raw


def with_uid(study: str) -> bytes:
    data_set = pydicom.dcmread(io.BytesIO(CT))
    data_set.StudyInstanceUID, data_set.SOPInstanceUID = study, generate_uid()
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = io.BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_into_a_study(gateway: HttpGateway) -> None:
    right, wrong = with_uid("1.2.3"), with_uid("1.2.4")
    answer = send(gateway, body_of(right, wrong), path="/studies/1.2.3")
    assert answer.status_code == 202
    assert reasons(answer) == [0xA900]
    assert "1.2.4" in answer.headers["warning"]
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert spooled(gateway) == [right]
    assert send(gateway, body_of(wrong), path="/studies/1.2.3").status_code == 409
    assert spooled(gateway) == [right]


def without(keyword: str) -> bytes:
    data_set = pydicom.dcmread(io.BytesIO(CT))
    delattr(data_set, keyword)
    out = io.BytesIO()
    data_set.save_as(out)
    return out.getvalue()


def test_an_sop_class_of_no_stored_instance_is_refused_alone(gateway: HttpGateway) -> None:
    data_set = pydicom.dcmread(io.BytesIO(CT))
    data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.2.2.1"
    out = io.BytesIO()
    data_set.save_as(out)
    answer = send(gateway, body_of(out.getvalue(), MR))
    assert (answer.status_code, reasons(answer)) == (202, [0x0122])
    assert spooled(gateway) == [MR]


def test_a_meta_information_of_another_sop_class_is_a_warning(gateway: HttpGateway) -> None:
    data_set = pydicom.dcmread(io.BytesIO(CT))
    data_set.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    out = io.BytesIO()
    data_set.save_as(out)
    answer = send(gateway, body_of(out.getvalue(), MR))
    assert answer.status_code == 202
    warned, plain = answer.json()["00081199"]["Value"]
    assert warned["00081196"] == {"vr": "US", "Value": [0xB007]}
    assert "00081196" not in plain
    assert "is not 1.2.840.10008.5.1.4.1.1.4 of the File Meta" in answer.headers["warning"]
    assert len(spooled(gateway)) == 2


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (b"", "shorter than its preamble"),
        (b"junk", "shorter than its preamble"),
        (b"junk" * 100, "no DICM"),
        (CT[132:], "no DICM"),
        (CT[:200], "ends within"),
        (CT[:400], "no Study Instance UID"),
        (CT[:132] + b"\xff" * 500, "ends within|no S"),
        (without("StudyInstanceUID"), "no Study Instance UID"),
        (without("SeriesInstanceUID"), "no Series Instance UID"),
    ],
)
def test_a_part_that_cannot_be_understood_is_refused_alone(gateway: HttpGateway, part: bytes, says: str) -> None:
    answer = send(gateway, body_of(MR, part, CT))
    assert answer.status_code == 202, answer.text
    assert reasons(answer) == [0xC000]
    assert answer.headers["warning"].startswith('299 vna "part 2: ')
    assert re.search(says, answer.headers["warning"])
    assert spooled(gateway) == sorted([CT, MR])
    alone = send(gateway, body_of(part))
    assert (alone.status_code, reasons(alone)) == (409, [0xC000])


def test_a_part_of_another_type_is_refused_alone(gateway: HttpGateway) -> None:
    body = b"--BB\r\nContent-Type: image/png\r\n\r\n" + CT + b"\r\n" + body_of(MR)
    answer = send(gateway, body)
    assert (answer.status_code, reasons(answer)) == (202, [0xC000])
    assert spooled(gateway) == [MR]


def test_a_part_over_the_limit(gateway: HttpGateway) -> None:
    def body() -> Iterator[bytes]:
        yield b"--BB\r\nContent-Type: application/dicom\r\n\r\n" + CT
        for _ in range(70):
            yield bytes(MIB)
        yield b"\r\n--BB--\r\n"

    answer = send(gateway, body())
    assert answer.status_code == 413
    assert "VNA_HTTP__MAX_PART_BYTES" in answer.json()["detail"]
    assert spooled(gateway) == []


def test_a_client_that_goes_away_leaves_nothing(gateway: HttpGateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as peer:
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {RELATED}\r\n"
        peer.sendall(head.encode() + b"Content-Length: 9999999\r\n\r\n")
        peer.sendall(body_of(MR)[: -len(b"--BB--\r\n")] + b"--BB\r\n\r\n" + CT + bytes(2 * MIB))
        wait_until(lambda: list(gateway.archive.spool.partial.iterdir()), 10, "the second part has begun")
    wait_until(lambda: not list(gateway.archive.spool.partial.iterdir()), 10, "the part that was cut is gone")
    assert spooled(gateway) == [MR]


def test_many_instances_over_many_connections(gateway: HttpGateway) -> None:
    def one(number: int) -> int:
        parts = [with_uid(f"1.2.{number}.{each}") for each in range(5)]
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(f"{gateway.base}/studies", content=body_of(*parts), headers={"Content-Type": RELATED})
        return len(answer.json()["00081199"]["Value"])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(16))) == [5] * 16
    assert len(spooled(gateway)) == 80


def test_no_space_is_said_so_that_the_sender_tries_again(tmp_path: Path) -> None:
    gateway = HttpGateway(tmp_path, VNA_SPOOL__MIN_FREE_BYTES=str(1 << 60))
    try:
        answer = send(gateway, body_of(CT, MR))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"] == "out-of-resources"
        assert gateway.client.get(f"{gateway.url}/ready").status_code == 503
        assert gateway.client.get(f"{gateway.url}/health").status_code == 200
    finally:
        assert gateway.stop() == 0


def test_an_index_that_was_lost_degrades_the_archive_and_is_told(tmp_path: Path) -> None:
    gateway = HttpGateway(tmp_path)
    try:
        archive = gateway.archive
        spool_one(archive.spool, part10(1))
        committer = archive.committer()
        committer.commit([entry.name for entry in archive.spool.entries()])
        committer.close()
        ready = gateway.client.get(f"{gateway.url}/ready").json()["parts"]["index"]
        assert ready == {"status": "ok"}
        archive.index.close()
        for path in archive.settings.data.glob("index.sqlite*"):
            path.unlink()
        answer = gateway.client.get(f"{gateway.url}/ready")
        assert answer.status_code == 200
        assert answer.json()["status"] == "degraded"
        lost = "the index was lost: 1 objects in the store, run `vna reindex`"
        assert answer.json()["parts"]["index"] == {"status": "failing", "detail": lost}
    finally:
        assert gateway.stop() == 0


@pytest.mark.slow
def test_memory_does_not_grow_with_the_instance(tmp_path: Path) -> None:
    """A part of 2 GiB comes in and goes out; the process stays below 300 MiB."""
    size = 2 << 30
    gateway = HttpGateway(tmp_path, develop=False)
    process = psutil.Process(gateway.process.pid)
    peak = 0

    def note() -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    data_set = pydicom.dcmread(io.BytesIO(CT))
    data_set.Rows, data_set.Columns, data_set.NumberOfFrames = 1024, 1024, size // (2 << 20)
    del data_set.PixelData, data_set.DataSetTrailingPadding
    head = io.BytesIO()
    data_set.save_as(head)
    head.write(b"\xe0\x7f\x10\x00OW\x00\x00" + size.to_bytes(4, "little"))

    def body() -> Iterator[bytes]:
        yield b"--BB\r\nContent-Type: application/dicom\r\n\r\n" + head.getvalue()
        piece = bytes(MIB)
        for _ in range(size // MIB):
            yield piece
            note()
        yield b"\r\n--BB--\r\n"

    try:
        answer = send(gateway, body())
        assert answer.status_code == 200, answer.text
        url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        assert gateway.ingest().stored == 1
        for accept in ("application/dicom; transfer-syntax=*", 'multipart/related; type="application/dicom"'):
            received = 0
            with gateway.client.stream("GET", url, headers={"Accept": accept}) as out:
                assert out.status_code == 200
                for piece in out.iter_bytes():
                    received += len(piece)
                    note()
            assert received >= size
        frame = gateway.client.get(f"{url}/frames/1000", headers={"Accept": "application/octet-stream"})
        assert frame.content == bytes(2 << 20)
        note()
        assert peak < 300 * MIB, f"{peak / MIB:.0f} MiB"
        print(json.dumps({"peak_mib": round(peak / MIB)}))
    finally:
        assert gateway.stop() == 0
