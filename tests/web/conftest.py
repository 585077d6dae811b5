"""One archive for all modules that read the pages without a browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.http_gateway import HttpGateway
from tests.support.pages import gateway_with_studies


@pytest.fixture(scope="package")
def read_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = gateway_with_studies(tmp_path_factory.mktemp("pages"))
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def reader(read_gateway: HttpGateway) -> Iterator[httpx.Client]:
    """A browser without scripts, of the pages' own origin."""
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": read_gateway.url}
    with httpx.Client(base_url=read_gateway.url, timeout=60, trust_env=False, headers=headers) as client:
        yield client
