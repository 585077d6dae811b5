"""The server around the application: who is let in, TLS, several processes, stopping, health and metrics."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.certificates import Authority
from tests.support.http_gateway import HttpGateway
from tests.support.ports import free_port, wait_until
from tests.support.real_files import real_file
from vna.ingest.spool import Spool
from vna.security.principals import Role
from vna.security.tls_files import fingerprint

CT = real_file("CT_small.dcm").read_bytes()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("server"))
    yield gateway
    assert gateway.stop() == 0


def test_loopback_is_answered(gateway: HttpGateway) -> None:
    assert gateway.client.get("/studies").status_code == 204
    for host in ("localhost", "localhost:8080", "127.0.0.1", "[::1]:80", "127.1.2.3"):
        assert gateway.client.get("/studies", headers={"Host": host}).status_code == 204, host


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Host", "archive.example"),
        ("Host", "127.0.0.1.attacker.example"),
        ("Host", ""),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Via", "1.1 proxy"),
    ],
)
def test_what_only_seems_to_be_loopback_is_refused(gateway: HttpGateway, field: str, value: str) -> None:
    for method, path in (("GET", "/studies"), ("POST", "/studies"), ("GET", f"{gateway.url}/metrics")):
        answer = gateway.client.request(method, path, headers={field: value})
        assert answer.status_code == 401
        assert "VNA_HTTP__ALLOW_ANONYMOUS" in answer.json()["detail"]
    assert gateway.client.get(f"{gateway.url}/health", headers={field: value}).status_code == 200


def test_another_address_is_refused(tmp_path: Path) -> None:
    addresses = [
        each.address
        for name, each_list in psutil.net_if_addrs().items()
        for each in each_list
        if each.family.name == "AF_INET" and not each.address.startswith("127.")
    ]
    if not addresses:
        # Without another interface the same shows from the other side: nobody is let in.
        settings = {"VNA_HTTP__ALLOW_ANONYMOUS": "never"}
        url_host = "127.0.0.1"
    else:
        settings = {"VNA_HTTP__HOST": "0.0.0.0"}
        url_host = addresses[0]
    gateway = HttpGateway(tmp_path, **settings)
    try:
        with httpx.Client(trust_env=False) as client:
            answer = client.get(f"http://{url_host}:{gateway.port}/dicom-web/studies")
            assert answer.status_code == 401
            assert client.get(f"http://{url_host}:{gateway.port}/health").status_code == 200
    finally:
        assert gateway.stop() == 0


def test_urls_are_as_clients_reach_the_server(gateway: HttpGateway) -> None:
    assert gateway.client.get(gateway.url).json()["dicomweb"] == gateway.base
    local = gateway.client.get(gateway.url, headers={"Host": "localhost:1234"})
    assert local.json()["dicomweb"] == "http://localhost:1234/dicom-web"
    portless = gateway.client.get(gateway.url, headers={"Host": "127.0.0.1"})
    assert portless.json()["dicomweb"] == gateway.base


def test_a_broker_that_is_away_degrades_the_archive_no_more(gateway: HttpGateway) -> None:
    answer = gateway.client.get(f"{gateway.url}/ready")
    assert answer.status_code == 200
    data = answer.json()
    assert data["status"] == "degraded"
    assert {name for name, part in data["parts"].items() if part["status"] != "ok"} == {"queue"}


def test_metrics_count_requests_by_resource(gateway: HttpGateway) -> None:
    gateway.client.get("/studies/1.2.3/metadata")
    gateway.client.post("/studies", content=CT, headers={"Content-Type": "application/dicom"})
    text = gateway.client.get(f"{gateway.url}/metrics").text
    assert 'vna_http_requests_total{method="GET",resource="retrieve-metadata",status="404"} 1.0' in text
    assert 'vna_stow_parts_total{outcome="stored"} 1.0' in text
    assert "1.2.3" not in text


def test_a_process_for_pictures_is_there_when_somebody_opens_a_page(gateway: HttpGateway) -> None:
    served = psutil.Process(gateway.process.pid)
    gateway.client.get("/studies")
    assert served.children() == []
    gateway.client.get(f"{gateway.url}/ui/")
    wait_until(lambda: len(served.children()) == 1, 10, "a child is started")
    for _ in range(3):
        gateway.client.get(f"{gateway.url}/ui/")
    assert len(served.children()) == 1


def test_several_processes_share_the_port_and_stop_together(tmp_path: Path) -> None:
    gateway = HttpGateway(tmp_path, develop=False, VNA_HTTP__PROCESSES="2")
    try:
        parent = psutil.Process(gateway.process.pid)
        wait_until(lambda: len(servers(parent)) == 2, 20, "two processes listen")
        for _ in range(20):
            with httpx.Client(trust_env=False) as client:
                answer = client.post(
                    f"{gateway.base}/studies", content=CT, headers={"Content-Type": "application/dicom"}
                )
                assert answer.status_code == 200
        text = gateway.client.get(f"{gateway.url}/metrics").text
        assert 'vna_stow_parts_total{outcome="stored"} 20.0' in text
        victim = servers(parent)[0]
        victim.kill()
        wait_until(lambda: len([each for each in servers(parent) if each.pid != victim.pid]) == 2, 20, "a new one")
        children = servers(parent)
    finally:
        assert gateway.stop() == 0
    assert not [each for each in children if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def servers(parent: psutil.Process) -> list[psutil.Process]:
    """Return the children that listen."""
    found = []
    for child in parent.children():
        try:
            if any(each.status == psutil.CONN_LISTEN for each in child.net_connections("tcp")):
                found.append(child)
        except psutil.Error:
            continue
    return found


def test_a_port_that_is_taken_is_named(gateway: HttpGateway, tmp_path: Path) -> None:
    for processes in ("1", "2"):
        result = run(tmp_path, VNA_HTTP__PORT=str(gateway.port), VNA_HTTP__PROCESSES=processes)
        assert result.returncode == 1
        assert f"VNA_HTTP__PORT: cannot listen on 127.0.0.1 port {gateway.port}" in result.stderr


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    result = run(
        tmp_path,
        VNA_HTTP__PORT=str(free_port()),
        VNA_HTTP__TLS__CERTIFICATE=str(wrong),
        VNA_HTTP__TLS__KEY=str(wrong),
    )
    assert result.returncode == 1
    assert "VNA_HTTP__TLS" in result.stderr


def run(data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VNA_")}
    return subprocess.run(
        [sys.executable, "-m", "vna.gateways.dicomweb"],
        env=environment | {"VNA_DATA": str(data)} | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def s_client(port: int, *options: object) -> str:
    """Connect with openssl, show nothing and send nothing; return what it says."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *map(str, options)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, own = authority.issue("server"), authority.issue("client")
    gateway = HttpGateway(
        tmp_path / "data",
        VNA_HTTP__TLS__CERTIFICATE=str(server.certificate),
        VNA_HTTP__TLS__KEY=str(server.key),
        VNA_HTTP__TLS__CLIENT_CA=str(authority.ca),
    )
    url = gateway.url.replace("http:", "https:")
    try:
        context = ssl.create_default_context(cafile=str(authority.ca))
        with httpx.Client(verify=context, trust_env=False) as client, pytest.raises(httpx.TransportError):
            client.get(url)
        context.load_cert_chain(own.certificate, own.key)
        accounts = gateway.archive.accounts
        bound = accounts.add_key("machine", Role.VIEWER, certificate=fingerprint(own.certificate))
        elsewhere = accounts.add_key("other", Role.VIEWER, certificate=fingerprint(server.certificate))
        with httpx.Client(verify=context, trust_env=False) as client:
            for token, status in ((bound, 204), (elsewhere, 401), (bound, 204)):
                answer = client.get(f"{url}/dicom-web/studies", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == status
            assert client.get(url).json()["dicomweb"] == f"{url}/dicom-web"
            # Renewed, and one connection is open: it stays, others see the new certificate.
            authority.issue("server", common_name="renewed")
            wait_until(lambda: "CN = renewed" in s_client(gateway.port), 10, "the new certificate is shown")
            assert client.get(url).status_code == 200
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.TransportError):
            client.get(gateway.url)
        for refused in (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), ("-tls1_2", "-cipher", "AES256-GCM-SHA384")):
            assert "Cipher is (NONE)" in s_client(gateway.port, *refused)
        assert "Cipher is ECDHE-RSA-AES256-GCM-SHA384" in s_client(gateway.port, "-tls1_2")
        assert "TLSv1.3, Cipher is" in s_client(gateway.port)
        # A client that keeps its connection, and says nothing to the end of it, holds up no stop.
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", gateway.port)), server_hostname="127.0.0.1"
        ) as idle:
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert idle.recv(100).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            assert gateway.stop() == 0
            assert time.monotonic() - began < 10
    finally:
        gateway.process.kill()


def test_a_request_under_way_is_finished_before_it_stops(tmp_path: Path) -> None:
    gateway = HttpGateway(tmp_path)

    def active() -> bool:
        return "vna_http_active 2.0" in httpx.get(f"{gateway.url}/metrics", trust_env=False).text

    def body() -> Iterator[bytes]:
        yield CT[:1000]
        wait_until(active, 10, "the request has begun")
        gateway.process.terminate()
        time.sleep(1)
        yield CT[1000:]

    try:
        answer = gateway.client.post("/studies", content=body(), headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200
    finally:
        assert gateway.stop() == 0
    assert Spool(tmp_path / "spool").count().entries == 1
