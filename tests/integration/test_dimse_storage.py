"""Foreign clients send to the gateway: dcmtk, pynetdicom, Orthanc."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.sop_class import (
    CTImageStorage,
    MRImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.support.dcmtk import dcmtk, store
from tests.support.dimse import (
    CT,
    EXPLICIT,
    RELEASE,
    VERIFICATION,
    GatewayProcess,
    Requestor,
    RunningGateway,
    associate_rq,
    context_item,
    context_results,
    echo_rq,
    pdu,
    pdv,
    running_gateway,
    store_rq,
)
from tests.support.dimse import store as store_pdus
from tests.support.instances import make_settings, part10
from tests.support.ports import answers, free_port, wait_until
from tests.support.real_files import real_file, real_files
from vna.bootstrap import Archive
from vna.gateways.dimse.services import make_ae


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path / "spool") as running:
        yield running


def _sendable() -> list[Path]:
    """Real files with File Meta Information and the UIDs that a C-STORE names, each SOP instance once."""
    found: dict[str, Path] = {}
    for path in real_files():
        with contextlib.suppress(InvalidDicomError, Exception):
            read = pydicom.dcmread(path, stop_before_pixels=True)
            if read.file_meta.TransferSyntaxUID and read.SOPClassUID and read.SOPInstanceUID:
                found.setdefault(read.SOPInstanceUID, path)
    return list(found.values())


def _data_set(path: Path) -> bytes:
    """Return the bytes behind the File Meta Information."""
    with path.open("rb") as file:
        file.seek(132)
        length = int.from_bytes(file.read(12)[8:], "little")
        file.seek(144 + length)
        return file.read()


def test_echo(gateway: RunningGateway) -> None:
    assert dcmtk("echoscu", "-aec", "VNA", "127.0.0.1", gateway.port).returncode == 0


def test_every_real_file_arrives_byte_for_byte(gateway: RunningGateway) -> None:
    """Each in its own transfer syntax, its data set as it lies in the file, in PDUs of the size that was announced."""
    files = [path for path in _sendable() if path.stat().st_size < 20 << 20]
    assert len(files) > 150
    sent, refused = [], []
    for path in files:
        meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
        sop_class, uid = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
        with Requestor.connect(gateway.port) as requestor:
            answer = requestor.associate(context_item(1, sop_class, str(meta.TransferSyntaxUID)))
            if context_results(answer)[1][0]:
                refused.append((path.name, sop_class, context_results(answer)[1][0]))
                continue
            data = _data_set(path)
            requestor.send(pdu(4, pdv(1, 3, store_rq(uid, sop_class=sop_class))))
            room = gateway.settings.max_pdu - 6
            for at in range(0, len(data), room):
                last = 2 if at + room >= len(data) else 0
                requestor.send(pdu(4, pdv(1, last, data[at : at + room])))
            assert requestor.status() == 0, path
            sent.append(hashlib.sha256(data).digest())
    kept = [hashlib.sha256(_data_set(path)).digest() for path in gateway.files()]
    assert kept == sent
    # What no storage service has: media directories, and classes of a test's own making.
    assert {result for _name, _uid, result in refused} <= {3}
    assert all(uid == "1.2.840.10008.1.3.10" or not uid.startswith("1.2.840.10008.5.1.4.1.1") for _, uid, _ in refused)


def test_dcmsend_sends_every_file_it_can_read(gateway: RunningGateway) -> None:
    files = _sendable()
    done = store(gateway.port, files, "--no-halt")
    kept = [pydicom.dcmread(path, stop_before_pixels=True) for path in gateway.files()]
    syntaxes = {str(one.file_meta.TransferSyntaxUID) for one in kept}
    assert len(kept) > 170, done.stdout[-3000:]
    assert len({one.SOPInstanceUID for one in kept}) == len(kept)
    assert done.stdout.count("Received C-STORE Response (Success)") == len(kept)
    # Its UIDs have the VR UN: dcmsend puts their bytes in hexadecimal into the command.
    torn = [path for path in files if path.name == "explicit_VR-UN.dcm"]
    refused = re.findall(r"Received C-STORE Response \((?!Success)(.*)\)", done.stdout)
    assert refused == ["Refused: SOPClassNotSupported"] * len(torn)
    # dcmsend writes Implicit VR as Explicit; of the compressed ones it converts none.
    assert len(syntaxes) >= 8, syntaxes
    assert gateway.leftovers() == []


@pytest.mark.parametrize("nagle", [False, True])
def test_storescu(gateway: RunningGateway, *, nagle: bool) -> None:
    files = [real_file("CT_small.dcm"), real_file("MR_small.dcm")]
    done = dcmtk("storescu", "-v", "-aec", "VNA", "127.0.0.1", gateway.port, *files, nagle=nagle)
    assert done.returncode == 0, done.stdout
    for kept, sent in zip(gateway.files(), files, strict=True):
        assert pydicom.dcmread(kept).PixelData == pydicom.dcmread(sent).PixelData
    assert [entry.origin.calling for entry in gateway.spool.entries()] == ["STORESCU"] * 2


def test_many_files_over_several_associations_at_once(gateway: RunningGateway, tmp_path: Path) -> None:
    sent = {}
    for number in range(40):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(part10(number, pixels=os.urandom(128 * (number + 1))))
        sent[pydicom.dcmread(path).SOPInstanceUID] = path
    paths = list(sent.values())
    senders = [
        subprocess.Popen(
            ["/usr/bin/dcmsend", "-aec", "VNA", "127.0.0.1", str(gateway.port), *map(str, paths[start::4])],
            stdout=subprocess.DEVNULL,
        )
        for start in range(4)
    ]
    assert [sender.wait(60) for sender in senders] == [0] * 4
    kept = {pydicom.dcmread(path).SOPInstanceUID: path for path in gateway.files()}
    assert kept.keys() == sent.keys()
    for uid, path in kept.items():
        assert pydicom.dcmread(path).PixelData == pydicom.dcmread(sent[uid]).PixelData


def test_pynetdicom_as_requestor(gateway: RunningGateway) -> None:
    ae = AE(ae_title="PYNET")
    for context in (Verification, CTImageStorage, MRImageStorage):
        ae.add_requested_context(context)
    association = ae.associate("127.0.0.1", gateway.port, ae_title="VNA")
    assert association.is_established
    assert association.acceptor.maximum_length == gateway.settings.max_pdu
    assert association.send_c_echo().Status == 0
    for name in ("CT_small.dcm", "MR_small.dcm"):
        answer: Dataset = association.send_c_store(pydicom.dcmread(real_file(name)))
        assert answer.Status == 0
    association.release()
    assert association.is_released
    assert len(gateway.files()) == 2


def test_an_unknown_class_beside_known_ones_stays_on_the_receive_path(gateway: RunningGateway) -> None:
    with Requestor.connect(gateway.port) as requestor:
        answer = requestor.associate(context_item(1, CT, EXPLICIT), context_item(3, "1.2.826.0.1.77", EXPLICIT))
        assert [result for result, _ in context_results(answer).values()] == [0, 3]
        requestor.send(store_pdus(1))
        assert requestor.status() == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"called": b"OTHER"}, (1, 1, 7)),
        ({"calling": b"STRANGER"}, (1, 1, 3)),
        ({"version": 0}, (1, 2, 2)),
        ({"application": "1.2.3"}, (1, 1, 2)),
    ],
)
def test_rejections(tmp_path: Path, changes: dict[str, object], reason: tuple[int, int, int]) -> None:
    with running_gateway(tmp_path, accept_unknown="never", peers={"TEST": {}}) as gateway:
        with Requestor.connect(gateway.port) as requestor:
            requestor.send(associate_rq(context_item(1, CT, EXPLICIT), **changes))  # type: ignore[arg-type]
            assert requestor.read() == (3, bytes((0, *reason)))
            assert requestor.read()[0] == 0
        with Requestor.connect(gateway.port) as requestor:
            requestor.associate(context_item(1, CT, EXPLICIT))


def test_dcmtk_says_why_it_was_rejected(gateway: RunningGateway) -> None:
    done = dcmtk("echoscu", "-aec", "OTHER", "127.0.0.1", gateway.port)
    assert "Called AE Title Not Recognized" in done.stdout


def test_more_associations_than_the_limit_are_rejected_for_now(tmp_path: Path) -> None:
    context = context_item(1, VERIFICATION, EXPLICIT)
    with running_gateway(tmp_path, max_associations=2) as gateway:
        first, second, third = (Requestor.connect(gateway.port) for _ in range(3))
        first.associate(context)
        second.associate(context)
        third.send(associate_rq(context))
        assert third.read() == (3, bytes((0, 2, 3, 2)))
        first.send(RELEASE)
        assert first.read()[0] == 6
        first.close()
        wait_until(lambda: gateway.gateway.open == 1)
        with Requestor.connect(gateway.port) as fourth:
            fourth.associate(context)
        second.close()
        third.close()


def test_who_does_not_ask_in_time_is_closed(tmp_path: Path) -> None:
    with running_gateway(tmp_path, artim_seconds=0.3) as gateway, Requestor.connect(gateway.port) as requestor:
        rq = associate_rq(context_item(1, CT, EXPLICIT))
        begun = time.monotonic()
        requestor.send(rq[:40])
        assert requestor.read()[0] == 0
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("first", [pdu(4, b""), pdu(5, bytes(4)), pdu(0x47, b"ET / HTTP/1.1"), b"\1\0\xff\xff\xff\xff"])
def test_what_is_no_request_is_aborted(gateway: RunningGateway, first: bytes) -> None:
    with Requestor.connect(gateway.port) as requestor:
        requestor.send(first)
        assert requestor.read() == (7, bytes(4))


def test_connection_cut_within_a_data_set_leaves_nothing(gateway: RunningGateway) -> None:
    with Requestor.connect(gateway.port) as requestor:
        requestor.associate(context_item(1, CT, EXPLICIT))
        requestor.send(store_pdus(1, "1.2.1"))
        assert requestor.status() == 0
        requestor.send(pdu(4, pdv(1, 3, store_rq("1.2.2")) + pdv(1, 0, bytes(9000))))
        wait_until(gateway.leftovers)
    wait_until(lambda: gateway.leftovers() == [])
    assert len(gateway.files()) == 1


def test_association_for_other_services_goes_to_pynetdicom(tmp_path: Path) -> None:
    archive = Archive(make_settings(tmp_path))
    services = make_ae(archive)
    with running_gateway(tmp_path / "spool", services=services) as gateway:
        ae = AE(ae_title="PYNET")
        for context in (Verification, PatientRootQueryRetrieveInformationModelFind, CTImageStorage):
            ae.add_requested_context(context)
        for _ in range(2):
            association = ae.associate("127.0.0.1", gateway.port, ae_title="VNA")
            assert association.is_established
            assert len(association.accepted_contexts) == 3
            assert association.send_c_echo().Status == 0
            association.release()
        wait_until(lambda: gateway.gateway.open == 0)
        # pynetdicom may miss the rejection if the connection ends before it looks; its reason is told to dcmtk above.
        assert not ae.associate("127.0.0.1", gateway.port, ae_title="OTHER").is_established
    archive.close()


def test_mixed_association_caps_what_a_peer_may_send(tmp_path: Path) -> None:
    archive = Archive(make_settings(tmp_path))
    find = str(PatientRootQueryRetrieveInformationModelFind)
    services = make_ae(archive)
    with (
        running_gateway(tmp_path / "spool", services=services) as gateway,
        Requestor.connect(gateway.port) as requestor,
    ):
        requestor.associate(context_item(1, find, EXPLICIT), context_item(3, VERIFICATION, EXPLICIT))
        requestor.send(pdu(4, pdv(3, 3, echo_rq())))
        assert requestor.status() == 0
        requestor.send(b"\4\0\xff\xff\xff\xff")
        assert requestor.read() == (7, bytes((0, 0, 2, 6)))
    archive.close()


@pytest.fixture
def orthanc(tmp_path: Path, gateway: RunningGateway) -> Iterator[str]:
    folder = tmp_path / "orthanc"
    folder.mkdir()
    http = free_port()
    configuration = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": http,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomModalities": {"vna": ["VNA", "127.0.0.1", gateway.port]},
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers("127.0.0.1", http), 30, (folder / "log").read_text())
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(20)


def test_orthanc_as_a_modality(gateway: RunningGateway, orthanc: str) -> None:
    def post(path: str, body: bytes) -> dict[str, object]:
        with urllib.request.urlopen(urllib.request.Request(orthanc + path, body), timeout=60) as answer:
            return dict(json.load(answer))

    names = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm")
    ids = [post("/instances", real_file(name).read_bytes())["ID"] for name in names]
    told = post("/modalities/vna/store", json.dumps({"Resources": ids, "Synchronous": True}).encode())
    assert told["FailedInstancesCount"] == 0
    kept = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in gateway.files()}
    for name in names:
        sent = pydicom.dcmread(real_file(name))
        got = kept[sent.SOPInstanceUID]
        assert got.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
        assert got.PixelData == sent.PixelData
        assert got.file_meta.SendingApplicationEntityTitle == "ORTHANC"


@pytest.fixture
def process(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    running = GatewayProcess(tmp_path / "data", **getattr(request, "param", {}))
    yield running
    running.close()


def _settle(memory: psutil.Process) -> None:
    """Wait until the memory has stood still for three seconds: the queue's client is loaded when it is idle."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(memory.memory_info().rss)
        return len(seen) > 6 and max(seen[-7:]) - min(seen[-7:]) < 1 << 20

    wait_until(still, 60, "the memory stands still", every=0.5)


def test_large_object_leaves_memory_flat(process: GatewayProcess) -> None:
    total, piece = 300 << 20, bytes(range(256)) * 1000
    room = len(piece)
    memory = psutil.Process(process.process.pid)
    _settle(memory)
    digest, sent, seen = hashlib.sha256(), 0, list[int]()
    with Requestor.connect(process.port) as requestor:
        requestor.associate(context_item(1, CT, EXPLICIT))
        requestor.connection.settimeout(120)
        requestor.send(pdu(4, pdv(1, 3, store_rq())))
        while sent < total:
            sent += room
            requestor.send(pdu(4, pdv(1, 2 if sent >= total else 0, piece)))
            digest.update(piece)
            if sent % (20 << 20) < room:
                seen.append(memory.memory_info().rss)
        assert requestor.status() == 0
        seen.append(memory.memory_info().rss)
    (entry,) = process.spool.entries()
    with process.spool.source(entry).path.open("rb") as file:
        file.seek(entry.length - sent)
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
    half = len(seen) // 2
    assert max(seen[half:]) - seen[half] < 8 << 20
    assert max(seen) < 150 << 20


def test_sigterm_lets_the_instance_under_way_finish(process: GatewayProcess) -> None:
    with Requestor.connect(process.port) as idle, Requestor.connect(process.port) as busy:
        for requestor in (idle, busy):
            requestor.associate(context_item(1, CT, EXPLICIT))
        busy.send(pdu(4, pdv(1, 3, store_rq())))
        wait_until(lambda: os.listdir(process.spool.partial))
        process.process.send_signal(signal.SIGTERM)
        assert idle.read() == (7, bytes(4))
        busy.send(pdu(4, pdv(1, 2, b"\x08\0\x05\0CS\2\0  ")))
        assert busy.status() == 0
        assert busy.read() == (7, bytes(4))
    assert process.process.wait(10) == 0
    assert len(list(process.spool.entries())) == 1


@pytest.mark.parametrize("process", [{"VNA_DIMSE__PROCESSES": "2"}], indirect=True)
def test_processes_share_the_port_and_one_that_dies_is_replaced(process: GatewayProcess) -> None:
    def listeners() -> set[int]:
        children = psutil.Process(process.process.pid).children()
        return {child.pid for child in children if any(c.status == "LISTEN" for c in child.net_connections())}

    wait_until(lambda: len(listeners()) == 2, 60)
    before = listeners()
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(listeners()) == 2 and listeners() != before, 60)
    for _ in range(6):
        assert dcmtk("echoscu", "-aec", "VNA", "127.0.0.1", process.port).returncode == 0
    children = listeners()
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(20) == 0
    assert not any(psutil.pid_exists(child) for child in children)


def test_a_port_that_is_taken_is_told(tmp_path: Path, gateway: RunningGateway) -> None:
    environment = os.environ | {"VNA_DIMSE__PORT": str(gateway.port), "VNA_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-m", "vna.gateways.dimse"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "VNA_DIMSE__PORT" in done.stderr
