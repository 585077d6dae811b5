"""The storage SCU against dcmtk's storescp and against peers that misbehave."""

from __future__ import annotations

import io
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, MRImageStorage
from pynetdicom import AE, evt

from tests.support.dimse_services import part10
from tests.support.ports import answers, free_port, wait_until
from vna.config import PeerSettings, TlsSettings
from vna.domain.errors import ArchiveError, ConfigurationError, UnavailableError
from vna.gateways.dimse.outgoing import data_set_start
from vna.peers.association import Proposal
from vna.peers.destination import Destination
from vna.peers.dimse import StoreAssociation

CT = str(CTImageStorage)
EXPLICIT = str(ExplicitVRLittleEndian)
PROPOSALS: list[Proposal] = [
    (CT, (EXPLICIT,)),
    (CT, (str(ImplicitVRLittleEndian),)),
    (CT, (str(JPEG2000Lossless),)),
    ("1.2.3.4.5.6.7", (EXPLICIT,)),
]


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[int]:
    port = free_port()
    command = ["/usr/bin/storescp", "+B", "-od", str(folder), *options, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers("127.0.0.1", port), 10)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def peer(port: int, *, tls: bool = False, host: str = "127.0.0.1") -> PeerSettings:
    return PeerSettings(host=host, port=port, tls=tls)


def associate(port: int, proposals: list[Proposal] | None = None, timeout: float = 20) -> StoreAssociation:
    return StoreAssociation(Destination("PEER", peer(port)), "VNA", proposals or PROPOSALS, timeout=timeout)


def data_set(**attributes: object) -> bytes:
    file = part10(**attributes)  # type: ignore[arg-type]
    return file[data_set_start(io.BytesIO(file)) :]


def store(association: StoreAssociation, data: bytes, sop: str = "1.2.3.1.1.1") -> int:
    return association.store(association.accepted[CT, EXPLICIT], CT, sop, io.BytesIO(data), len(data))


def test_a_data_set_arrives_byte_for_byte(tmp_path: Path) -> None:
    data = data_set()
    with storescp(tmp_path) as port, associate(port) as association:
        assert set(association.accepted) == {(CT, EXPLICIT), (CT, str(ImplicitVRLittleEndian))}
        assert store(association, data) == 0x0000
    (got,) = tmp_path.iterdir()
    assert got.read_bytes().endswith(data)


@pytest.mark.parametrize("longest", ["4096", "16384", "131072"])
@pytest.mark.parametrize("size", [0, 2, 4_000, 16_372, 16_378, 16_384, 262_132, 262_144, 1_000_000])
def test_data_sets_of_every_length_at_every_maximum_length(tmp_path: Path, longest: str, size: int) -> None:
    data = data_set(PixelData=bytes(range(256)) * (size // 256) + bytes(size % 256))
    with storescp(tmp_path, "-pdu", longest) as port, associate(port) as association:
        for number in range(2):
            assert store(association, data, f"1.2.3.1.1.{number}") == 0x0000
    for got in tmp_path.iterdir():
        assert got.read_bytes().endswith(data)


def test_a_peer_that_rejects(tmp_path: Path) -> None:
    with storescp(tmp_path, "--refuse") as port, pytest.raises(UnavailableError, match="PEER rejects"):
        associate(port)


def test_a_peer_that_aborts_during_a_data_set(tmp_path: Path) -> None:
    data = data_set(PixelData=bytes(1 << 20))
    with storescp(tmp_path, "--abort-during") as port:
        association = associate(port)
        with pytest.raises(UnavailableError):
            store(association, data)


def test_nobody_listens() -> None:
    with pytest.raises(UnavailableError, match="PEER at 127"):
        associate(free_port())


@contextmanager
def answering(answer: bytes, *, then_close: bool = True) -> Iterator[int]:
    """Listen, read what comes, answer some bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)
                if not then_close:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join(10)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00",
        b"\x02\x00\x00\x00\x00\x02\x00\x01",
        b"\x02\x00\x00\x00\x00\x4c" + bytes(76),
        b"\x02\x00\xff\xff\xff\xff",
        b"\x03\x00\x00\x00\x00\x04\x00\x09\x09\x09",
    ],
)
def test_a_peer_that_speaks_something_else(answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(UnavailableError, match="PEER"):
        associate(port)


def test_a_peer_that_says_nothing() -> None:
    begun = time.monotonic()
    with answering(b"", then_close=False) as port, pytest.raises(UnavailableError, match="no answer"):
        associate(port, timeout=0.3)
    assert time.monotonic() - begun < 5


def test_a_data_set_that_is_shorter_than_told_is_aborted(tmp_path: Path) -> None:
    with storescp(tmp_path) as port:
        association = associate(port)
        with pytest.raises(UnavailableError, match="early"):
            association.store(association.accepted[CT, EXPLICIT], CT, "1.2.3", io.BytesIO(b"abc"), 100)
        wait_until(lambda: not list(tmp_path.iterdir()), 5)


def test_the_request_says_who_and_what() -> None:
    seen: dict[str, object] = {}

    def take(event: evt.Event) -> int:
        request = event.request
        seen["originator"] = (request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID)
        seen["uids"] = (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
        seen["priority"] = request.Priority
        seen["calling"] = event.assoc.requestor.ae_title
        seen["version"] = event.assoc.requestor.implementation_version_name
        return 0xB007

    ae = AE("PEER")
    ae.add_supported_context(CT, EXPLICIT)
    ae.maximum_pdu_size = 0  # no limit
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    assert server is not None
    data = data_set(PixelData=bytes(300_000))
    with associate(server.server_address[1]) as association:
        context = association.accepted[CT, EXPLICIT]
        stream = io.BytesIO(data)
        status = association.store(context, CT, "1.2.3", stream, len(data), priority=1, originator=("MOVER", 17))
    server.shutdown()
    assert status == 0xB007
    assert seen == {
        "originator": ("MOVER", 17),
        "uids": (CT, "1.2.3"),
        "priority": 1,
        "calling": "VNA",
        "version": "VNA_0_1",
    }


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_128_contexts() -> None:
    ae = AE("PEER")
    ae.add_supported_context(MRImageStorage, EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    proposals: list[Proposal] = [(f"1.2.3.{number}", (EXPLICIT,)) for number in range(127)]
    # Not all that archives hold has a UID that is one.
    proposals[0], proposals[1] = ("1.2.abc ", (EXPLICIT,)), ("\u00e9" * 70, (EXPLICIT,))
    with associate(server.server_address[1], [*proposals, (str(MRImageStorage), (EXPLICIT,))]) as association:
        assert association.accepted == {(str(MRImageStorage), EXPLICIT): 255}
    server.shutdown()


def test_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key, chain = certificate
    tls = TlsSettings(certificate=chain, key=key, client_ca=chain)
    data = data_set()
    with storescp(tmp_path, "+tls", str(key), str(chain), "+cf", str(chain)) as port:
        destination = Destination("PEER", peer(port, tls=True, host="localhost"), tls)
        with StoreAssociation(destination, "VNA", PROPOSALS, timeout=20) as association:
            assert store(association, data) == 0x0000
    (got,) = tmp_path.iterdir()
    assert got.read_bytes().endswith(data)


@pytest.mark.parametrize("known", [False, True])
def test_tls_that_cannot_be(tmp_path: Path, certificate: tuple[Path, Path], known: bool) -> None:
    key, chain = certificate
    tls = TlsSettings(client_ca=tmp_path / "missing.pem") if known else TlsSettings()
    expected: type[ArchiveError] = ConfigurationError if known else UnavailableError
    with storescp(tmp_path, "+tls", str(key), str(chain), "-ic") as port, pytest.raises(expected):
        StoreAssociation(Destination("PEER", peer(port, tls=True), tls), "VNA", PROPOSALS, timeout=10)
