"""A whole archive tells who did what, from each way in, in a chain that holds and to a repository that listens."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.archive import RunningArchive
from tests.support.audit_message import parse_message
from tests.support.certificates import certificate
from tests.support.dcmtk import dcmtk
from tests.support.instances import part10
from tests.support.ports import free_port, wait_until
from tests.support.syslog_server import SyslogServer
from vna.config import SyslogSettings
from vna.domain.audit import Kind, Participant, to_record
from vna.domain.errors import UnavailableError
from vna.peers.syslog import SyslogSender
from vna.security.audit_events import accessed, authentication
from vna.security.audit_filter import AuditFilter
from vna.security.audit_state import last_verified
from vna.security.principals import Role as AccountRole

__all__ = ["certificate"]

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "1.2.3.1"
PHRASE = "a phrase of several words"


@pytest.fixture(scope="module")
def repository(certificate: tuple[Path, Path]) -> Iterator[SyslogServer]:
    server = SyslogServer(*certificate)
    yield server
    server.close()


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory, repository: SyslogServer, certificate: tuple[Path, Path]
) -> Iterator[RunningArchive]:
    """An archive that has served every kind of request once."""
    folder = tmp_path_factory.mktemp("audit")
    sink = free_port()
    running = RunningArchive(
        folder / "data",
        VNA_AUDIT__SEAL_SECONDS="1",
        VNA_AUDIT__REPEAT_SECONDS="3",
        VNA_AUDIT__SYSLOG__TRANSPORT="tls",
        VNA_AUDIT__SYSLOG__HOST="localhost",
        VNA_AUDIT__SYSLOG__PORT=str(repository.port),
        VNA_AUDIT__SYSLOG__CA=str(certificate[1]),
        VNA_DIMSE__PEERS=json.dumps({"SINK": {"host": "127.0.0.1", "port": sink}}),
    )
    running.start()
    try:
        _use(running, folder)
        yield running
    finally:
        running.close()


def _use(running: RunningArchive, folder: Path) -> None:
    files = []
    for number in range(1, 4):
        files.append(folder / f"{number}.dcm")
        files[-1].write_bytes(part10(number))
    port = str(running.dimse_port)
    called = ("-aec", "VNA", "127.0.0.1", port)
    assert dcmtk("storescu", "-aet", "CT01", *called, *files).returncode == 0
    running.wait_idle()
    find = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}")
    assert dcmtk("findscu", "-aet", "WS1", *find, *called).returncode == 0
    get = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}", "-od", str(folder))
    assert dcmtk("getscu", "-aet", "WS2", *get, *called).returncode == 0
    assert dcmtk("echoscu", "-aet", "WS3", "-aec", "WRONG", "127.0.0.1", port).returncode != 0
    with httpx.Client(base_url=running.web, trust_env=False, timeout=60) as client:
        assert client.get("/studies", params={"PatientID": "P1"}).status_code == 200
        related = {"Accept": 'multipart/related; type="application/dicom"'}
        assert client.get(f"/studies/{STUDY}", headers=related).status_code == 200
        assert client.get(f"/studies/{STUDY}/metadata").status_code == 200
        frame = f"/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1/frames/1"
        for _ in range(5):
            assert client.get(frame).status_code == 200
        assert client.get("/studies", headers={"X-Forwarded-For": "8.8.8.8"}).status_code in {401, 403}
        assert client.get("/studies/9.9.9/metadata").status_code == 404


def _listed(archive: RunningArchive, **wanted: Any) -> list[dict[str, Any]]:
    """Return events as the command line shows them, the newest first."""
    opened = archive.open()
    try:
        page = opened.audit_reader.page(AuditFilter(**wanted), 1000)
        return [{"sequence": entry.sequence} | to_record(entry.event) for entry in page.entries]
    finally:
        opened.close()


def test_the_command_line_lists_what_is_asked_for(archive: RunningArchive) -> None:
    options = ("--since", "1h", "--user", "ws2", "--study", STUDY, "--kind", "instances-transferred")
    (line,) = archive.vna("audit", "list", "--json", *options).splitlines()
    assert json.loads(line)["studies"][0]["patient_id"] == "P1"
    (line,) = archive.vna("audit", "list", *options).splitlines()
    assert f"study {STUDY} of P1, 3" in line
    assert archive.vna("audit", "list", *options, "--failed") == ""
    assert [_users(one)[1] for one in _listed(archive, kind=Kind.AUDIT_LOG_USED)] == ["vna audit list"] * 3


def _users(event: dict[str, Any]) -> list[str]:
    return [one["user"] for one in event["participants"]]


def test_what_was_sent_is_told_with_its_sender_study_patient_and_counts(archive: RunningArchive) -> None:
    begun = _listed(archive, kind=Kind.BEGIN_TRANSFERRING)
    assert [(one["detail"], _users(one)[0]) for one in begun] == [("3 instances received, 0 refused; released", "CT01")]
    sent = _listed(archive, kind=Kind.INSTANCES_TRANSFERRED, user="CT01")
    assert sum(count for one in sent for _uid, count in one["studies"][0]["classes"]) == 3
    assert {one["action"] for one in sent} == {"C"}
    assert {(one["studies"][0]["uid"], one["studies"][0]["patient_id"]) for one in sent} == {(STUDY, "P1")}
    assert sent[0]["participants"][0]["address"] == "127.0.0.1"


def test_who_searched_is_told_with_what_they_asked(archive: RunningArchive) -> None:
    (found,) = _listed(archive, kind=Kind.QUERY, user="WS1")
    assert found["query"]["target"] == "1.2.840.10008.5.1.4.1.2.2.1"
    assert found["outcome"] == 0
    (web,) = [one for one in _listed(archive, kind=Kind.QUERY) if "PatientID" in one["query"]["text"]]
    assert web["query"]["text"] == "/dicom-web/studies?PatientID=P1"


def test_who_took_a_study_is_told_by_each_way_out(archive: RunningArchive) -> None:
    taken = _listed(archive, kind=Kind.INSTANCES_TRANSFERRED, study=STUDY, patient="P1")
    (got,) = [one for one in taken if "WS2" in _users(one)]
    (web,) = [one for one in taken if one["detail"] == "retrieve-study"]
    for one in (got, web):
        assert one["studies"] == [{"uid": STUDY, "patient_id": "P1", "classes": [[CT, 3]]}]
        assert one["action"] == "R"


def test_frames_are_told_at_once_and_then_in_sum(archive: RunningArchive) -> None:
    def frames() -> list[dict[str, Any]]:
        every = _listed(archive, kind=Kind.INSTANCES_ACCESSED)
        return sorted(
            (one for one in every if one["detail"].startswith("retrieve-frames")), key=lambda one: one["when_us"]
        )

    wait_until(lambda: len(frames()) >= 2, 20, "frames are added up", every=0.5)
    first, rest = frames()
    assert rest["detail"] == "retrieve-frames; 4 times more"
    assert sum(one["studies"][0]["classes"][0][1] for one in (first, rest)) == 5
    (metadata,) = [one for one in _listed(archive, kind=Kind.INSTANCES_ACCESSED) if one["detail"].endswith("metadata")]
    assert metadata["studies"][0]["classes"] == [[CT, 3]]


def test_who_was_refused_is_told(archive: RunningArchive) -> None:
    (rejected,) = _listed(archive, kind=Kind.NETWORK_ENTRY)
    assert _users(rejected)[0] == "WS3"
    assert rejected["outcome"] == 4
    (alert,) = _listed(archive, kind=Kind.SECURITY_ALERT)
    assert alert["target"] == "/dicom-web/studies"
    # A stranger who invents paths fills no disk with them.
    for number in range(5):
        path = f"{archive.web.removesuffix('/dicom-web')}/{number}{'a' * 20_000}"
        assert httpx.get(path, headers={"Authorization": "Bearer no"}, trust_env=False).status_code == 401
    wait_until(lambda: len(_listed(archive, kind=Kind.SECURITY_ALERT)) == 2, 10, "the first is told")
    alert, _ = _listed(archive, kind=Kind.SECURITY_ALERT)
    assert len(alert["target"]) < 1000


def test_people_are_named_by_what_they_signed_in_with(archive: RunningArchive) -> None:
    opened = archive.open()
    opened.accounts.add_user("ann", AccountRole.TECHNOLOGIST, PHRASE)
    opened.close()
    with httpx.Client(base_url=archive.web.removesuffix("/dicom-web"), trust_env=False, timeout=60) as browser:
        for password, status in (("wrong", 401), (PHRASE, 303)):
            token = re.search(r'name="token" value="([^"]+)"', browser.get("/ui/sign-in").text)
            assert token
            own = {"Sec-Fetch-Site": "same-origin"}
            fields = {"token": token[1], "name": "ann", "password": password}
            assert browser.post("/ui/sign-in", data=fields, headers=own).status_code == status
        assert browser.get(f"/dicom-web/studies/{STUDY}/metadata").status_code == 200
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part10(1, study=2, patient="P2") + b"\r\n--b--\r\n"
    sent = httpx.post(f"{archive.web}/studies", content=body, headers=headers, auth=("ann", PHRASE), trust_env=False)
    assert sent.status_code == 200
    archive.wait_idle()
    wait_until(lambda: _listed(archive, user="ann", study="1.2.3.2"), 10, "what was stored is told")
    found = [(one["kind"], one["outcome"], one["action"]) for one in reversed(_listed(archive, user="ANN"))]
    assert found == [
        ("user-authentication", 4, "E"),
        ("user-authentication", 0, "E"),
        ("instances-accessed", 0, "R"),
        ("instances-transferred", 0, "C"),
    ]
    assert len(_listed(archive, kind=Kind.SECURITY_ALERT)) == 2


def test_the_workers_seal_the_chain_and_it_holds(archive: RunningArchive) -> None:
    def sealed() -> bool:
        return all(one["sequence"] for one in _listed(archive) if one["kind"] != "audit-log-used")

    wait_until(sealed, 20, "everything is sealed", every=0.5)
    told = archive.vna("audit", "verify")
    assert told.startswith("main-")
    assert len(told.splitlines()) == 1
    assert b'"sequence":1}' in _first_segment(archive)
    opened = archive.open()
    verified = last_verified(opened.objects)
    opened.close()
    assert verified is not None
    assert f"{verified.records} records" in told
    assert verified.problems == 0


def _first_segment(archive: RunningArchive) -> bytes:
    opened = archive.open()
    data = opened.objects.get(next(iter(opened.objects.list("audit/"))).key)
    opened.close()
    return data


def test_an_export_is_audit_messages(archive: RunningArchive, tmp_path: Path) -> None:
    target = tmp_path / "audit.xml"
    archive.vna("audit", "export", "--since", "1h", "--output", str(target))
    lines = target.read_bytes().splitlines()
    codes = {parse_message(line).find("EventIdentification/EventID").get("csd-code") for line in lines}
    assert {"110100", "110102", "110103", "110104", "110108", "110112", "110113"} <= codes


def test_the_repository_has_every_sealed_event_once_and_in_order(
    archive: RunningArchive, repository: SyslogServer
) -> None:
    def sent() -> list[str]:
        return [message.partition(b'id="')[2][:16].decode() for message in repository.messages]

    def sealed() -> list[str]:
        every = [one for one in _listed(archive) if one["sequence"]]
        return [one["id"] for one in sorted(every, key=lambda one: one["sequence"])]

    known = sealed()
    wait_until(lambda: len(sent()) >= len(known), 20, "the repository has all")
    assert sent()[: len(known)] == known
    assert repository.broken == []
    for message in repository.messages[:20]:
        parse_message(message.partition(b"\xef\xbb\xbf")[2])


def _sender(port: int, chain: Path | None, host: str = "localhost") -> SyslogSender:
    settings = SyslogSettings(transport="tls", host=host, port=port, ca=chain, timeout_seconds=5)
    return SyslogSender(settings, "archive01")


def test_many_messages_go_in_one_connection_and_a_reset_is_no_success(certificate: tuple[Path, Path]) -> None:
    server = SyslogServer(*certificate)
    try:
        sender = _sender(server.port, certificate[1])
        everyone = [authentication(Participant(f"user {n} ä"), Participant("vna")) for n in range(300)]
        sender.send(everyone)
        assert len(server.messages) == 300
        assert server.connections == 1
        server.deaf = True
        with pytest.raises(UnavailableError):
            sender.send(everyone)
        assert server.broken == []
    finally:
        server.close()
    with pytest.raises(UnavailableError):
        sender.send(everyone[:1])


def test_a_repository_that_shows_no_certificate_of_the_authority_gets_nothing(certificate: tuple[Path, Path]) -> None:
    server = SyslogServer(*certificate)
    try:
        with pytest.raises(UnavailableError, match=r"(?i)certificate"):
            _sender(server.port, None).send([accessed(Participant("a"), Participant("vna"), ())])
        assert server.messages == []
    finally:
        server.close()


def test_by_udp_each_message_is_a_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        settings = SyslogSettings(transport="udp", host="127.0.0.1", port=receiver.getsockname()[1])
        SyslogSender(settings, "archive01").send([accessed(Participant("a"), Participant("vna"), ())])
        parse_message(receiver.recv(65_535).partition(b"\xef\xbb\xbf")[2])
