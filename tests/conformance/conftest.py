"""One archive and one Orthanc for the whole checklist, with the same instances in both."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.samples import SAMPLES
from tests.conformance.support import Server
from tests.support.http_gateway import HttpGateway
from tests.support.orthanc import running_orthanc


def _client() -> httpx.Client:
    return httpx.Client(trust_env=False, timeout=60)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    """The HTTP gateway of this archive, asked without credentials from loopback."""
    running = HttpGateway(tmp_path_factory.mktemp("archive"), VNA_HTTP__ALLOW_ANONYMOUS="loopback")
    yield running
    assert running.stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture(scope="session")
def archive(gateway: HttpGateway) -> Iterator[Server]:
    """This archive, with the samples."""
    with _client() as client:
        server = Server("archive", gateway.base, gateway.ingest, client)
        _fill(server)
        yield server


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Orthanc, with the samples."""
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as running, _client() as client:
        server = Server("Orthanc", running.web, lambda: None, client)
        _fill(server)
        yield server


def _fill(server: Server) -> None:
    answer = server.files(*(sample.file for sample in SAMPLES))
    assert answer.status_code == 200, answer.text
    server.settle()
