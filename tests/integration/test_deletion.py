"""A deletion is asked for over HTTP, listed and withdrawn on the command line, and destroys nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10
from vna.cli.main import cli
from vna.domain.errors import ConflictError, NotFoundError
from vna.lifecycle.deletion import Deletions
from vna.security.principals import Permission, Principal, Role

STUDY = "/studies/1.2.3.1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    running = HttpGateway(tmp_path_factory.mktemp("deletion"))
    for number in (1, 2):
        headers = {"Content-Type": "application/dicom"}
        assert running.client.post("/studies", content=part10(number), headers=headers).status_code == 200
    assert running.ingest().stored == 2
    yield running
    assert running.stop() == 0


@pytest.fixture
def gateway(shared: HttpGateway) -> HttpGateway:
    for info in list(shared.archive.objects.list("facts/deletion/")):
        shared.archive.objects.delete(info.key)
    return shared


def _vna(gateway: HttpGateway, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in gateway.environment.items():
            patch.setenv(name, value)
        done = CliRunner().invoke(cli, ["deletion", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_request_is_written_down_once_and_everything_stays(gateway: HttpGateway) -> None:
    answer = gateway.client.delete(STUDY, params={"reason": "sent to the wrong archive"})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["state"], body["instances"]) == ("requested", 2)
    assert gateway.client.delete(STUDY).json() == body
    instance = f"{STUDY}/series/1.2.3.1.1/instances/1.2.3.1.1.2"
    assert gateway.client.delete(instance).json()["instances"] == 1
    assert gateway.client.get(instance, headers={"Accept": "application/dicom; transfer-syntax=*"}).content == part10(2)
    assert len(gateway.client.get("/instances").json()) == 2

    listed = [json.loads(line) for line in _vna(gateway, "list", "--json").splitlines()]
    assert sorted(each["instance"] for each in listed) == ["", "1.2.3.1.1.2"]
    (whole,) = [each for each in listed if not each["instance"]]
    (step,) = whole["steps"]
    assert (whole["study"], step["who"], step["reason"]) == ("1.2.3.1", "anonymous", "sent to the wrong archive")

    assert "withdrawn" in _vna(gateway, "withdraw", body["request"][:12], "--reason", "it was right")
    assert body["request"][:12] not in _vna(gateway, "list")
    assert "it was right" in _vna(gateway, "list", "--all")
    deletions = Deletions(gateway.archive.objects)
    with pytest.raises(ConflictError, match="is withdrawn"):
        deletions.withdraw(body["request"], "me")
    with pytest.raises(NotFoundError, match="no request"):
        deletions.withdraw("ffffffff", "me")
    again = gateway.client.delete(STUDY).json()
    assert (again["request"], again["state"]) == (body["request"], "requested")
    assert again["requested"] > body["requested"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/studies/9.9", 404, "not-found"),
        (f"{STUDY}/series/9.9", 404, "not-found"),
        (f"{STUDY}?reasn=x", 400, "invalid-query"),
        (f"{STUDY}?reason={'x' * 1025}", 400, "invalid-query"),
        ("/studies", 405, "method-not-allowed"),
    ],
)
def test_requests_that_are_none(gateway: HttpGateway, path: str, status: int, error: str) -> None:
    answer = gateway.client.delete(path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert list(Deletions(gateway.archive.objects).list()) == []


def test_who_may_ask() -> None:
    assert {role for role in Role if Principal("x", role, "key").may(Permission.DELETE)} == {
        Role.RECORDS_MANAGER,
        Role.ADMINISTRATOR,
    }
