"""The pages show the same, whichever index finds it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.support.elasticsearch import drop_indices
from tests.support.http_gateway import HttpGateway
from tests.support.pages import CT, gateway_with_studies, stored
from tests.support.ports import wait_until
from vna.lifecycle.tiers import advance

SAME = (
    "/ui/",
    "/ui/?page=2&sort=name",
    "/ui/?q=row&sort=-name",
    "/ui/?name=row&modality=CT&manufacturer=ACME",
    "/ui/?start=2020-03-01&end=2020-03-31&sort=date",
    "/ui/?q=nothing",
    "/ui/facets",
    "/ui/facets?q=row&manufacturer=ACME",
    "/ui/facets?modality=MR",
    "/ui/patients?id=R50",
    f"/ui/studies/{CT.StudyInstanceUID}",
    f"/ui/studies/{CT.StudyInstanceUID}.1",
)


@pytest.fixture(scope="module")
def elastic(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    settings = {
        "VNA_INDEX__KIND": "elasticsearch",
        "VNA_INDEX__HOSTS": f'["{elasticsearch_url}"]',
        "VNA_INDEX__PREFIX": f"t{secrets.token_hex(6)}",
    }
    gateway = gateway_with_studies(tmp_path_factory.mktemp("elastic"), **settings)
    yield gateway
    assert gateway.stop() == 0
    drop_indices(elasticsearch_url, settings["VNA_INDEX__PREFIX"])


def test_pages_are_the_same_on_elasticsearch(reader: httpx.Client, elastic: HttpGateway) -> None:
    with httpx.Client(base_url=elastic.url, timeout=60, trust_env=False) as other:
        for path in SAME:
            ours, theirs = reader.get(path), other.get(path)
            assert theirs.status_code == ours.status_code, path
            assert theirs.text == ours.text, path


def test_what_is_stored_is_the_same_on_elasticsearch(
    reader: httpx.Client, read_gateway: HttpGateway, elastic: HttpGateway
) -> None:
    for archive in (read_gateway.archive, elastic.archive):
        advance(archive.objects, 60)
    with httpx.Client(base_url=elastic.url, timeout=60, trust_env=False) as other:
        # A service that is busy is shown as such, and looked at again.
        wait_until(lambda: stored(other.get("/ui/operations/state").text), 60, "what is stored is shown")
        ours, theirs = (client.get("/ui/operations/state").text for client in (reader, other))
    tables = stored(theirs)
    assert tables == stored(ours)
    assert len(tables["Manufacturer"]) == 5
    assert re.findall(r"\d+ instances of \d+ series, \d+ studies, \d+ patients", theirs) == re.findall(
        r"\d+ instances of \d+ series, \d+ studies, \d+ patients", ours
    )
