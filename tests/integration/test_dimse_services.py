"""Query and retrieve through the product's own listener: plain, over TLS, and when it stops."""

from __future__ import annotations

import io
import os
import signal
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from tests.support.dimse import GatewayProcess
from tests.support.dimse_services import identifier, keep, part10
from tests.support.ports import free_port, wait_until
from vna.bootstrap import Archive
from vna.config import PeerSettings, load_settings
from vna.gateways.dimse.outgoing import data_set_start
from vna.peers import commands
from vna.peers.destination import Destination
from vna.peers.dimse import StoreAssociation

STUDY = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.1"]
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
CT, EXPLICIT = str(CTImageStorage), str(ExplicitVRLittleEndian)
COUNT = 40


class Listening:
    """A gateway process over an archive that holds a study."""

    def __init__(self, folder: Path, **environment: str) -> None:
        data = folder / "data"
        archive = Archive(load_settings(data=data))
        keep(archive, folder, [part10(1, 1, number, PixelData=bytes(200_000)) for number in range(1, COUNT + 1)])
        archive.close()
        self.destination = free_port()
        peers = f'{{"DEST": {{"host": "127.0.0.1", "port": {self.destination}}}}}'
        self.gateway = GatewayProcess(data, VNA_DIMSE__PEERS=peers, **environment)
        self.partial = data / "spool" / "partial"

    def run(self, program: str, *options: str, folder: Path | None = None) -> str:
        """Run a client of dcmtk and return what it says."""
        command = [
            f"/usr/bin/{program}",
            "-v",
            "-aec",
            "VNA",
            "-S",
            *options,
            *STUDY,
            "localhost",
            str(self.gateway.port),
        ]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, cwd=folder)
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert done.returncode == 0, text
        return text


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    listening = Listening(tmp_path_factory.mktemp("plain"))
    yield listening
    listening.gateway.close()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Listening]:
    key, chain = certificate
    listening = Listening(
        tmp_path_factory.mktemp("secure"), VNA_DIMSE__TLS__CERTIFICATE=str(chain), VNA_DIMSE__TLS__KEY=str(key)
    )
    yield listening
    listening.gateway.close()


def test_find_and_get(plain: Listening, tmp_path: Path) -> None:
    assert "(Pending)" in plain.run("findscu")
    text = plain.run("getscu", folder=tmp_path)
    assert f"Number of Completed Suboperations : {COUNT}" in text
    assert len(list(tmp_path.iterdir())) == COUNT


def test_find_and_get_over_tls(secure: Listening, certificate: tuple[Path, Path]) -> None:
    chain = certificate[1]
    assert "(Pending)" in secure.run("findscu", "+tla", "+cf", str(chain))
    # dcmtk's getscu speaks no TLS.
    received = []

    def take(event: Any) -> int:
        received.append(len(event.request.DataSet.getvalue()))
        return 0x0000

    ae = AE("GETTER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CTImageStorage, False, True
    assoc = ae.associate(
        "127.0.0.1",
        secure.gateway.port,
        ae_title="VNA",
        ext_neg=[role],
        evt_handlers=[(evt.EVT_C_STORE, take)],
        tls_args=(ssl.create_default_context(cafile=chain), "localhost"),
    )
    keys = identifier("STUDY", StudyInstanceUID="1.2.3.1")
    *_, (status, _) = assoc.send_c_get(keys, StudyRootQueryRetrieveInformationModelGet)
    assoc.release()
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0x0000, COUNT)
    assert len(received) == COUNT
    assert min(received) > 200_000


def test_move(plain: Listening, tmp_path: Path) -> None:
    text = plain.run("movescu", "-aem", "DEST", "+P", str(plain.destination), folder=tmp_path)
    assert "Received Final Move Response (Success)" in text
    assert len(list(tmp_path.iterdir())) == COUNT


def mixed(port: int) -> StoreAssociation:
    """Associate for storage and query at once, which the receive path leaves to the services."""
    proposals = [(FIND, (EXPLICIT,)), (CT, (EXPLICIT,))]
    return StoreAssociation(
        Destination("VNA", PeerSettings(host="127.0.0.1", port=port)), "MIXED", proposals, timeout=20
    )


def test_a_mixed_association_stores_byte_for_byte(plain: Listening) -> None:
    spool = plain.gateway.spool
    bodies = [os.urandom(size) for size in (2, 16_384, 5 << 20)]
    with mixed(plain.gateway.port) as association:
        context = association.accepted[CT, EXPLICIT]
        for number, body in enumerate(bodies):
            assert association.store(context, CT, f"1.2.9.{number}", io.BytesIO(body), len(body)) == 0x0000
        assert association.store(context, "1.2.3", "1.2.9.9", io.BytesIO(b"ab"), 2) == 0x0122
        assert association.store(context, CT, "", io.BytesIO(b"ab"), 2) == 0xC000
    entries = sorted(spool.entries(), key=lambda entry: entry.received_us)
    kept = [spool.source(entry).read() for entry in entries]
    spool.finish(entries)
    assert [data[data_set_start(io.BytesIO(data)) :] for data in kept] == bodies
    assert {entry.origin.calling for entry in entries} == {"MIXED"}


def send_pieces(connection: socket.socket, context: int) -> None:
    """Send so much of a data set, and not its end, that it has a file of its own, which can be seen."""
    piece = bytes(100_000)
    for _ in range(45):
        connection.sendall(struct.pack(">BxIIBB", 4, len(piece) + 6, len(piece) + 2, context, 0) + piece)


def test_an_aborted_data_set_leaves_nothing(plain: Listening) -> None:
    association = mixed(plain.gateway.port)
    context = association.accepted[CT, EXPLICIT]
    request = commands.store_request(CT, "1.2.3.4.5", 1)
    connection = association._socket
    connection.sendall(struct.pack(">BxIIBB", 4, len(request) + 6, len(request) + 2, context, 3) + request)
    send_pieces(connection, context)
    wait_until(lambda: list(plain.partial.iterdir()), 10, "the data set is being received")
    association.abort()
    wait_until(lambda: not list(plain.partial.iterdir()), 10, "nothing is left of it")
    assert not list(plain.gateway.spool.entries())


def test_a_connection_that_is_cut_leaves_nothing(plain: Listening) -> None:
    association = mixed(plain.gateway.port)
    context = association.accepted[CT, EXPLICIT]
    request = commands.store_request(CT, "1.2.3.4.5", 1)
    connection = association._socket
    connection.sendall(struct.pack(">BxIIBB", 4, len(request) + 6, len(request) + 2, context, 3) + request)
    send_pieces(connection, context)
    wait_until(lambda: list(plain.partial.iterdir()), 10, "the data set is being received")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    wait_until(lambda: not list(plain.partial.iterdir()), 10, "nothing is left of it")


def test_the_gateway_stops_while_a_study_is_fetched(tmp_path: Path) -> None:
    listening = Listening(tmp_path)
    try:
        command = ["/usr/bin/getscu", "-aec", "VNA", "-S", *STUDY, "127.0.0.1", str(listening.gateway.port)]
        out = tmp_path / "out"
        out.mkdir()
        with subprocess.Popen(command, cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            wait_until(lambda: list(out.iterdir()), 20)
            begun = time.monotonic()
            listening.gateway.process.send_signal(signal.SIGTERM)
            assert listening.gateway.process.wait(20) == 0
            assert time.monotonic() - begun < 15
            client.wait(20)
    finally:
        listening.gateway.close()
