"""Sign-in and bearer tokens by a real OpenID provider."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.http_gateway import HttpGateway
from tests.support.oidc_provider import AUDIENCE, CLIENT, SECRET, running_provider
from tests.support.ports import free_port
from vna.security.principals import Role

ROLES = {"radiology": "viewer", "radiographers": "technologist"}
LIMITS = {"cardiology": ["InstitutionalDepartmentName=Cardiology"], "north": ["InstitutionName=North"]}
CALLBACK = "/ui/sign-in/provider/callback"


@dataclass(frozen=True, slots=True)
class Parts:
    gateway: HttpGateway
    issuer: str


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    # The provider must know where the archive is before either has started.
    base = f"http://archive.localhost:{free_port()}"
    with running_provider(base + CALLBACK) as issuer:
        gateway = HttpGateway(
            tmp_path_factory.mktemp("oidc"),
            VNA_HTTP__ALLOW_ANONYMOUS="never",
            VNA_HTTP__BASE_URL=base,
            VNA_OIDC__ISSUER=issuer,
            VNA_OIDC__CLIENT_ID=CLIENT,
            VNA_OIDC__CLIENT_SECRET=SECRET,
            VNA_OIDC__ROLES=json.dumps(ROLES),
            VNA_OIDC__LIMITS=json.dumps(LIMITS),
            VNA_OIDC__AUDIENCE=AUDIENCE,
        )
        yield Parts(gateway, issuer)
        assert gateway.stop() == 0


@pytest.fixture
def browser(parts: Parts) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=parts.gateway.url, headers={"Accept": "text/html"}, trust_env=False) as client:
        yield client


def begin(browser: httpx.Client, target: str = "/ui/") -> str:
    sent = browser.get(f"/ui/sign-in/provider?next={target}")
    assert sent.status_code == 303, sent.text
    return sent.headers["Location"]


def at_provider(url: str, name: str) -> str:
    """Do what a person does at the provider: sign in, consent; return the address that the browser is sent back to."""
    with httpx.Client(trust_env=False, headers={"Accept": "text/html"}) as client:
        answer = client.get(url)
        for _ in range(12):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["Location"])
                if CALLBACK in url:
                    return url
                answer = client.get(url)
                continue
            [action] = re.findall(r'<form[^>]+action="([^"]+)"', answer.text)
            fields = dict(re.findall(r'<input[^>]+name="(prompt)" value="([^"]+)"', answer.text))
            answer = client.post(urljoin(str(answer.url), action), data=fields | {"login": name, "password": "x"})
    raise AssertionError(f"the provider did not send the browser back: {answer.text[:500]}")


def come_back(browser: httpx.Client, url: str) -> httpx.Response:
    parts = urlsplit(url)
    return browser.get(f"{parts.path}?{parts.query}")


def test_a_person_signs_in_with_an_account_of_the_organisation(parts: Parts, browser: httpx.Client) -> None:
    assert "/ui/sign-in/provider?next=" in browser.get("/ui/sign-in").text
    url = begin(browser, "/ui/%3Fq=x")
    query = parse_qs(urlsplit(url).query)
    assert (query["code_challenge_method"], query["response_type"]) == (["S256"], ["code"])
    back = come_back(browser, at_provider(url, "ann"))
    assert (back.status_code, back.headers["Location"]) == (303, "/ui/?q=x")
    assert browser.get("/ui/").status_code == 200
    assert browser.get("/ui/operations").status_code == 403
    wanted = {"Accept": "application/json"}
    assert browser.get("/dicom-web/studies", headers=wanted).status_code == 204


def test_the_highest_role_counts(parts: Parts, browser: httpx.Client) -> None:
    come_back(browser, at_provider(begin(browser), "tom"))
    assert browser.get("/ui/operations").status_code == 200


def test_a_group_that_is_limited_limits_whatever_others_somebody_has(parts: Parts, browser: httpx.Client) -> None:
    come_back(browser, at_provider(begin(browser), "carl"))
    assert browser.get("/ui/").status_code == 200
    refused = browser.get("/ui/operations")  # a technologist's, but not of a department
    assert (refused.status_code, "with limits" in refused.text) == (403, True)


def test_limits_that_cannot_be_joined_let_nobody_in(parts: Parts, browser: httpx.Client) -> None:
    back = come_back(browser, at_provider(begin(browser), "dora"))
    assert back.status_code == 403
    assert "cannot be joined" in back.text
    assert browser.get("/ui/").status_code == 303


def test_who_has_no_role_here_stays_outside(parts: Parts, browser: httpx.Client) -> None:
    back = come_back(browser, at_provider(begin(browser), "nobody"))
    assert back.status_code == 403
    assert "no role in this archive" in back.text
    assert browser.get("/ui/").status_code == 303


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(parts: Parts, browser: httpx.Client) -> None:
    stolen = at_provider(begin(browser), "ann")
    with httpx.Client(base_url=parts.gateway.url, trust_env=False) as other:
        assert come_back(other, stolen).status_code == 400
        begin(other)
        assert come_back(other, stolen).status_code == 400
    state = parse_qs(urlsplit(stolen).query)["state"][0]
    assert browser.get(f"{CALLBACK}?state={state}&code=guessed").status_code == 403
    # Even the right answer comes too late then: one answer for each sign-in.
    assert come_back(browser, stolen).status_code == 400


def test_what_the_provider_refuses_is_told(parts: Parts, browser: httpx.Client) -> None:
    state = parse_qs(urlsplit(begin(browser)).query)["state"][0]
    answer = browser.get(f"{CALLBACK}?state={state}&error=access_denied&error_description=<b>no</b>")
    assert answer.status_code == 403
    assert "&lt;b&gt;no" in answer.text


def token_of(issuer: str) -> str:
    fields = {"grant_type": "client_credentials", "scope": "read"}
    answer = httpx.post(f"{issuer}/token", data=fields, auth=(CLIENT, SECRET), trust_env=False)
    return str(answer.json()["access_token"])


def status(parts: Parts, token: str) -> int:
    return parts.gateway.client.get("/studies", headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_machine_comes_with_the_providers_token(parts: Parts) -> None:
    token = token_of(parts.issuer)
    assert status(parts, token) == 204
    head, body, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=="))
    content["groups"] = ["radiographers"]
    altered = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for forged in (f"{head}.{altered}.{signature}", f"{unsigned}.{body}.", f"{head}.{body}", "a.b.c"):
        assert status(parts, forged) == 401, forged


@pytest.mark.parametrize("wrong", ["key", "audience", "issuer", "expired", "shared-secret"])
def test_a_token_that_is_not_of_the_provider_for_this_archive_is_refused(parts: Parts, wrong: str) -> None:
    kid = jwt.get_unverified_header(token_of(parts.issuer))["kid"]
    claims = {"sub": "x", "iss": parts.issuer, "aud": AUDIENCE, "exp": int(time.time()) + 60, "groups": ["radiology"]}
    claims |= {"audience": {"aud": "urn:other"}, "issuer": {"iss": "http://x"}, "expired": {"exp": 1}}.get(wrong, {})
    if wrong == "shared-secret":
        public = httpx.get(f"{parts.issuer}/jwks", trust_env=False).json()["keys"][0]["n"]
        token = jwt.encode(claims, public, algorithm="HS256", headers={"kid": kid})
    else:
        token = jwt.encode(claims, rsa.generate_private_key(65537, 2048), algorithm="RS256", headers={"kid": kid})
    assert status(parts, token) == 401


def test_a_provider_that_is_away_is_no_way_in(tmp_path: Path) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    gateway = HttpGateway(
        tmp_path,
        VNA_HTTP__ALLOW_ANONYMOUS="never",
        VNA_OIDC__ISSUER=issuer,
        VNA_OIDC__CLIENT_ID=CLIENT,
        VNA_OIDC__ROLES=json.dumps(ROLES),
        VNA_OIDC__AUDIENCE=AUDIENCE,
    )
    try:
        answer = gateway.client.get(f"{gateway.url}/ui/sign-in/provider")
        assert answer.status_code == 503
        assert issuer in answer.text
        token = jwt.encode({"sub": "x"}, "k" * 64, algorithm="HS256")
        assert gateway.client.get("/studies", headers={"Authorization": f"Bearer {token}"}).status_code == 503
        # Those of the archive's own still come in.
        key = gateway.archive.accounts.add_key("pacs", Role.VIEWER)
        assert gateway.client.get("/studies", headers={"Authorization": f"Bearer {key}"}).status_code == 204
    finally:
        assert gateway.stop() == 0
