"""TLS of the DIMSE gateway: versions and suites, certificates that AE titles are bound to, peers that speak it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Authority, Certificate
from tests.support.dcmtk import dcmtk
from tests.support.dimse import RunningGateway, running_gateway
from tests.support.dimse_services import keep, part10
from tests.support.instances import make_settings
from tests.support.orthanc import running_orthanc
from tests.support.ports import answers, free_port, wait_until
from tests.support.real_files import real_file
from vna.bootstrap import Archive
from vna.config import PeerSettings, TlsSettings, load_settings
from vna.domain.audit import AuditEvent, Kind, Type
from vna.domain.errors import UnavailableError
from vna.gateways.dimse.services import make_ae
from vna.peers.association import RejectedError
from vna.peers.destination import Destination
from vna.peers.dimse import VERIFICATION, StoreAssociation
from vna.security.audit import NoTrail

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT = "1.2.840.10008.1.2"
VNA = str(Path(sys.executable).parent / "vna")


@dataclass
class Told(NoTrail):
    """Keeps what the gateway tells the audit trail."""

    events: list[AuditEvent] = field(default_factory=list)

    def record(self, event: AuditEvent) -> None:
        self.events.append(event)

    def repeated(self, _key: object, event: AuditEvent) -> None:
        self.events.append(event)

    def alerts(self) -> list[AuditEvent]:
        """Return the alerts that a node could not prove who it is, and forget all."""
        found = [one for one in self.events if (one.kind, one.type) == (Kind.SECURITY_ALERT, Type.NODE_AUTHENTICATION)]
        self.events.clear()
        return found


@dataclass
class Secure:
    """A gateway with TLS, to which CT01 and CT02 are bound by certificates, and clients' certificates."""

    authority: Authority
    gateway: RunningGateway
    told: Told
    server: Certificate
    ct01: Certificate
    ct02: Certificate
    stranger: Certificate
    orthanc: Certificate

    @property
    def port(self) -> int:
        return self.gateway.port

    def echo(self, calling: str, shown: Certificate | None, service: str = VERIFICATION) -> int:
        """Associate by the archive's own client, which tells each failure apart."""
        peer = PeerSettings(host="127.0.0.1", port=self.port, tls=True, ca=self.authority.ca)
        tls = TlsSettings(certificate=shown.certificate, key=shown.key) if shown else TlsSettings()
        proposals = [(VERIFICATION, (IMPLICIT,)), (service, (IMPLICIT,))]
        with StoreAssociation(Destination("VNA", peer, tls), calling, proposals, timeout=10) as association:
            return association.echo()

    def echoscu(self, *options: object) -> int:
        return dcmtk("echoscu", *options, "-aec", "VNA", "127.0.0.1", self.port).returncode


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder)
    server = authority.issue("server")
    ct01, ct02 = authority.issue("ct01"), authority.issue("ct02", names=("ct02.hospital.example",))
    orthanc = authority.issue("orthanc")
    peers = {
        "ORTHANC": {"certificates": ["orthanc"]},
        "CT01": {"certificates": [ct01.fingerprint]},
        "CT02": {"certificates": ["ct02.hospital.example"]},
        "FREE": {"addresses": ["127.0.0.1"]},
    }
    archive = Archive(make_settings(folder / "archive"))
    tls = {"certificate": server.certificate, "key": server.key, "client_ca": authority.ca}
    told = Told()
    with running_gateway(
        folder / "spool", services=make_ae(archive), audit=told, tls=tls, peers=peers, accept_unknown="never"
    ) as gateway:
        stranger = Authority(folder, "elsewhere").issue("stranger")
        yield Secure(authority, gateway, told, server, ct01, ct02, stranger, orthanc)
    archive.close()


def test_versions_and_suites(secure: Secure) -> None:
    def s_client(*options: str) -> str:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", *options]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout + done.stderr

    weakest = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    for version in ("-tls1", "-tls1_1"):
        assert "alert protocol version" in s_client(version, "-cipher", weakest)
    # One of each kind that RFC 9325 4.1 and 4.2 do not want: no forward secrecy, finite fields, CBC, no encryption.
    for suite in (
        "AES256-GCM-SHA384",
        "DHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-SHA384",
        "NULL-SHA256",
        "AES128-SHA",
    ):
        assert "handshake failure" in s_client("-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"), suite
    # The listener's order decides, and not the client's.
    asked = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
    taken = s_client("-tls1_2", "-cipher", asked)
    assert "Cipher is ECDHE-RSA-AES256-GCM-SHA384" in taken
    assert "Compression: NONE" in taken
    assert "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384" in s_client()


def test_profiles_of_dcmtk(secure: Secure) -> None:
    secure.told.events.clear()
    shown = ("+tls", secure.ct01.key, secure.ct01.certificate, "+cf", secure.authority.ca, "-aet", "CT01")
    for profile in ("--profile-bcp195-nd", "--profile-bcp195", "--profile-bcp195-ex"):
        assert secure.echoscu(*shown, profile) == 0, profile
    for profile in ("--profile-aes", "--profile-null"):
        assert secure.echoscu(*shown, profile) != 0, profile
    sent = dcmtk("storescu", *shown, "-aec", "VNA", "127.0.0.1", secure.port, real_file("CT_small.dcm"))
    assert sent.returncode == 0, sent.stdout
    assert len(secure.gateway.files()) == 1
    assert secure.told.alerts() == []


@pytest.mark.parametrize("service", [VERIFICATION, FIND], ids=["receive path", "services"])
def test_a_title_is_bound_to_its_certificate(secure: Secure, service: str) -> None:
    secure.told.events.clear()
    assert secure.echo("CT01", secure.ct01, service) == 0
    assert secure.echo("CT02", secure.ct02, service) == 0
    assert secure.echo("FREE", secure.ct02, service) == 0
    assert secure.told.alerts() == []
    for calling, shown in (("CT01", secure.ct02), ("CT02", secure.ct01), ("CT01", secure.server)):
        with pytest.raises(RejectedError, match="Calling AE title not recognised"):
            secure.echo(calling, shown, service)
        (alert,) = secure.told.alerts()
        assert f"peer '{calling}' shows a certificate that it is not bound to" in alert.detail
        assert calling in {who.user for who in alert.participants}
    with pytest.raises(RejectedError, match="Calling AE title not recognised"):
        secure.echo("NOBODY", secure.ct01, service)
    assert secure.told.alerts() == []


def test_without_a_certificate_of_the_authority_there_is_no_handshake(
    secure: Secure, caplog: pytest.LogCaptureFixture
) -> None:
    secure.told.events.clear()
    with pytest.raises(UnavailableError, match="wants to see a certificate of ours"):
        secure.echo("CT01", None)
    with pytest.raises(UnavailableError, match="does not know the authority that issued our certificate"):
        secure.echo("CT01", secure.stranger)
    wait_until(lambda: len(secure.told.events) == 2, 5, "both are told")
    alerts = secure.told.alerts()
    assert "it shows no certificate" in alerts[0].detail
    assert "its certificate is not trusted" in alerts[1].detail
    caplog.clear()
    caplog.set_level(logging.INFO)
    assert answers("127.0.0.1", secure.port)
    time.sleep(0.2)
    assert caplog.text == "", "whoever asks whether the port answers is not worth a line"
    plain = PeerSettings(host="127.0.0.1", port=secure.port)
    with pytest.raises(UnavailableError, match="does it speak TLS there"):
        StoreAssociation(Destination("VNA", plain), "CT01", [(VERIFICATION, (IMPLICIT,))], timeout=10)
    assert secure.told.alerts() == [], "whoever speaks something else claims nothing"


def test_a_bound_title_may_not_call_without_tls(tmp_path: Path, secure: Secure) -> None:
    told = Told()
    peers = {"CT01": {"certificates": [secure.ct01.fingerprint]}}
    with running_gateway(tmp_path, audit=told, peers=peers) as gateway:
        refused = dcmtk("echoscu", "-aet", "CT01", "-aec", "VNA", "127.0.0.1", gateway.port)
        assert "Calling AE Title Not Recognized" in refused.stdout
        assert dcmtk("echoscu", "-aet", "OTHER", "-aec", "VNA", "127.0.0.1", gateway.port).returncode == 0
        (alert,) = told.alerts()
        assert "is bound to a certificate (certificates) and shows none" in alert.detail


def test_a_certificate_is_renewed_without_a_restart(secure: Secure) -> None:
    before = secure.server.fingerprint
    secure.authority.issue("server")
    renewed = secure.server.fingerprint
    assert renewed != before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vna.security.tls._LOOK_SECONDS", 0)
        pinned = Destination(
            "VNA",
            PeerSettings(host="127.0.0.1", port=secure.port, tls=True),
            TlsSettings(certificate=secure.ct01.certificate, key=secure.ct01.key),
            secure.server.certificate,
        )

        def shown() -> bool:
            try:
                pinned.connect(5).close()
            except UnavailableError:
                return False
            return True

        wait_until(shown, 5, "the renewed certificate is shown")


def test_echo_tells_an_engineer_what_to_do(secure: Secure, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VNA_")},
        "VNA_DATA": str(tmp_path),
        "VNA_DIMSE__PORT": str(secure.port),
        "VNA_DIMSE__TLS__CERTIFICATE": str(secure.server.certificate),
        "VNA_DIMSE__TLS__KEY": str(secure.server.key),
        "VNA_DIMSE__TLS__CLIENT_CA": str(secure.authority.ca),
    }

    def echo(*arguments: object) -> tuple[int, str]:
        command = [VNA, "echo", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    ct01 = ("--certificate", secure.ct01.certificate, "--key", secure.ct01.key)
    status, text = echo("--calling", "FREE")
    assert (status, "answers over TLS" in text) == (0, True), text
    status, text = echo("--calling", "CT01", *ct01)
    assert (status, "answers over TLS" in text) == (0, True), text
    status, text = echo("--calling", "CT01")
    assert status == 1
    assert "bound to another certificate" in text
    status, text = echo(f"VNA@localhost:{secure.port}", "--calling", "CT01", *ct01, "--ca", secure.stranger.certificate)
    assert status == 1
    assert "its certificate is not trusted" in text
    assert f"trusted: {secure.stranger.certificate} (ca)" in text


def test_move_goes_over_tls_to_a_peer_that_is_verified(
    secure: Secure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dest = secure.authority.issue("dest", names=("dest.hospital.example",))
    port = free_port()
    own = {"certificate": secure.server.certificate, "key": secure.server.key, "client_ca": secure.authority.ca}
    where = {"host": "127.0.0.1", "port": port, "tls": True}
    peers = {"DEST": {**where, "tls_name": "dest.hospital.example"}, "OTHER": where}
    settings = load_settings(data=tmp_path / "data", dimse={"peers": peers, "tls": own})
    archive = Archive(settings)
    keep(archive, tmp_path, [part10(1, 1, number) for number in (1, 2)])
    received = tmp_path / "received"
    received.mkdir()
    shown = ["+tls", dest.key, dest.certificate, "+cf", secure.authority.ca, "-od", received]
    services = make_ae(archive)
    storescp = subprocess.Popen(["/usr/bin/storescp", *map(str, shown), str(port)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers("127.0.0.1", port), 10)
        # dcmtk's movescu speaks no TLS itself.
        with running_gateway(tmp_path / "spool", services=services) as gateway:

            def move(name: str) -> str:
                keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.1", "-aem", name)
                return dcmtk("movescu", "-v", "-S", *keys, "-aec", "VNA", "127.0.0.1", gateway.port).stdout

            assert "Received Final Move Response (Success)" in move("DEST")
            assert len(list(received.iterdir())) == 2
            # Its certificate names another host than the one it is called at.
            assert "OutOfResourcesSubOperations" in move("OTHER")
            assert "OTHER at 127.0.0.1" in caplog.text
            assert "its certificate is for another name" in caplog.text
            assert len(list(received.iterdir())) == 2
    finally:
        storescp.kill()
        storescp.wait()
        services.close()
        archive.close()


def test_orthanc_as_a_modality_that_speaks_tls(secure: Secure, tmp_path: Path) -> None:
    tls = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(secure.orthanc.certificate),
        "DicomTlsPrivateKey": str(secure.orthanc.key),
        "DicomTlsTrustedCertificates": str(secure.authority.ca),
        "DicomModalities": {"vna": {"AET": "VNA", "Host": "127.0.0.1", "Port": secure.port, "UseDicomTls": True}},
    }
    before = len(secure.gateway.files())
    with running_orthanc(tmp_path, **tls) as orthanc:
        base = f"http://127.0.0.1:{orthanc.http_port}"
        sent = httpx.post(f"{base}/instances", content=real_file("MR_small.dcm").read_bytes(), timeout=30)
        done = httpx.post(f"{base}/modalities/vna/store", content=sent.json()["ID"], timeout=30)
        assert done.json()["FailedInstancesCount"] == 0
        assert len(secure.gateway.files()) == before + 1
        # And the other way round, as C-MOVE does it: verified on both sides, or not at all.
        shown = TlsSettings(certificate=secure.ct01.certificate, key=secure.ct01.key, client_ca=secure.authority.ca)
        where = {"port": orthanc.dimse_port, "tls": True}
        proposals = [(VERIFICATION, (IMPLICIT,))]
        for host, name in (("localhost", ""), ("127.0.0.1", ""), ("127.0.0.1", "localhost")):
            peer = PeerSettings(host=host, tls_name=name, **where)
            with StoreAssociation(Destination("ORTHANC", peer, shown), "CT01", proposals, timeout=10) as association:
                assert association.echo() == 0
        for changes, tls_settings, why in (
            ({"tls_name": "other.example"}, shown, "for another name"),
            ({"ca": secure.stranger.certificate}, shown, "not trusted"),
            ({"ca": secure.authority.ca}, TlsSettings(), "wants to see a certificate|wants a certificate of ours"),
        ):
            peer = PeerSettings(host="127.0.0.1", **where, **changes)
            with pytest.raises(UnavailableError, match=why):
                StoreAssociation(Destination("ORTHANC", peer, tls_settings), "CT01", proposals, timeout=10)
