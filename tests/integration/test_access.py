"""Who may do what over HTTP: keys, passwords, sessions, roles, and pages of other sites."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.http_gateway import HttpGateway
from tests.support.real_files import real_file
from vna.security.principals import Role

PHRASE = "a much longer phrase"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(
        tmp_path_factory.mktemp("access"),
        VNA_HTTP__ALLOW_ANONYMOUS="never",
        VNA_HTTP__VIEWER_ORIGINS='["https://Viewer.example:443/"]',
    )
    yield gateway
    assert gateway.stop() == 0


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def store(gateway: HttpGateway, headers: dict[str, str]) -> int:
    data = real_file("CT_small.dcm").read_bytes()
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    return gateway.client.post("/studies", content=body, headers={"Content-Type": kind, **headers}).status_code


def test_without_credentials_there_is_nothing(gateway: HttpGateway) -> None:
    for method, path in (("GET", "/studies"), ("POST", "/studies"), ("GET", f"{gateway.url}/metrics")):
        answer = gateway.client.request(method, path)
        assert answer.status_code == 401
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert gateway.client.get(f"{gateway.url}/ready").status_code == 200


def test_a_key_may_what_its_role_may(gateway: HttpGateway) -> None:
    accounts = gateway.archive.accounts
    viewer, sender = accounts.add_key("workstation", Role.VIEWER), accounts.add_key("ct", Role.TECHNOLOGIST)
    assert gateway.client.get("/studies", headers=bearer(viewer)).status_code in {200, 204}
    assert store(gateway, bearer(viewer)) == 403
    assert store(gateway, bearer(sender)) == 200
    refused = gateway.client.get(f"{gateway.url}/metrics", headers=bearer(viewer))
    assert refused.status_code == 403
    assert "workstation (viewer) may not see the state" in refused.json()["detail"]
    assert gateway.client.get(f"{gateway.url}/metrics", headers=bearer(sender)).status_code == 200


def test_no_spelling_of_a_path_opens_what_a_role_may_not(gateway: HttpGateway) -> None:
    key = bearer(gateway.archive.accounts.add_key("spelling", Role.VIEWER))
    for path in ("/metrics", "/ui/audit", "/ui/audit/messages", "/ui/operations", "/dicom-web/studies/1"):
        for behind in ("%0A", "%0D%0A", "%00", "/", "//", "%2F", "x"):
            method = "DELETE" if "studies" in path else "GET"
            answer = gateway.client.request(method, f"{gateway.url}{path}{behind}", headers=key)
            assert answer.status_code in {403, 404}, (path, behind)


def test_what_one_is_told_is_kept_from_others_by_caches(gateway: HttpGateway) -> None:
    key = bearer(gateway.archive.accounts.add_key("cached", Role.ADMINISTRATOR))
    for path in ("/studies", f"{gateway.url}/metrics", f"{gateway.url}/", "/studies/1.2.3"):
        for headers in (key, {}):
            answer = gateway.client.get(path, headers=headers)
            assert "private" in answer.headers["Cache-Control"] or "no-store" in answer.headers["Cache-Control"], path
            assert "public" not in answer.headers["Cache-Control"]
            vary = answer.headers.get("Vary", "")
            assert "no-store" in answer.headers["Cache-Control"] or {"Authorization", "Cookie"} <= set(vary.split(", "))


def test_wrong_credentials_are_refused_also_where_none_would_do(tmp_path: Path) -> None:
    unknown = "vna_0123456789abcdef_" + "a" * 43
    rates = {"VNA_HTTP__RATES__REQUESTS_PER_SECOND": "1", "VNA_HTTP__RATES__BURST_SECONDS": "20"}
    gateway = HttpGateway(tmp_path, **rates)
    try:
        assert gateway.client.get("/studies").status_code == 204
        for header in ("Bearer no", "Bearer", f"Bearer {unknown}", "Basic !", "Basic YQ==", "Digest x=y"):
            answer = gateway.client.get("/studies", headers={"Authorization": header})
            assert answer.status_code == 401, header
        one, other = (gateway.archive.accounts.add_key(name, Role.VIEWER) for name in ("one", "other"))
        assert gateway.client.get("/studies", headers=bearer(other)).status_code == 204
        answers = [gateway.client.get("/studies", headers=bearer(one)) for _ in range(25)]
        assert [each.status_code for each in answers[:20]] == [204] * 20
        assert answers[-1].status_code == 429
        assert answers[-1].json()["error"] == "too-many-requests"
        assert int(answers[-1].headers["Retry-After"]) >= 1
        # Keys that are wrong are not looked up without end; one that is known goes on.
        wrong = [gateway.client.get("/studies", headers=bearer(unknown)).status_code for _ in range(80)]
        assert wrong[-1] == 429
        assert gateway.client.get("/studies", headers=bearer(other)).status_code == 204
    finally:
        assert gateway.stop() == 0


def test_a_name_and_password_do_for_clients_that_know_nothing_better(gateway: HttpGateway) -> None:
    gateway.archive.accounts.add_user("osirix", Role.VIEWER, PHRASE)
    assert gateway.client.get("/studies", headers=basic("osirix", PHRASE)).status_code in {200, 204}
    for _ in range(5):
        assert gateway.client.get("/studies", headers=basic("osirix", "wrong")).status_code == 401
    slowed = gateway.client.get("/studies", headers=basic("osirix", PHRASE))
    assert slowed.status_code == 429
    assert int(slowed.headers["Retry-After"]) >= 1


def test_a_one_time_password_opens_nothing_but_the_page_to_change_it(gateway: HttpGateway) -> None:
    given = gateway.archive.accounts.add_user("new", Role.ADMINISTRATOR)
    assert gateway.client.get("/studies", headers=basic("new", given)).status_code == 403


@pytest.fixture
def browser(gateway: HttpGateway) -> Iterator[httpx.Client]:
    own = {"Origin": gateway.url, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    with httpx.Client(base_url=gateway.url, headers=own, trust_env=False) as client:
        yield client


def submit(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    page = browser.get(path)
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found, page.text
    return browser.post(path.partition("?")[0], data={"token": found[1], **fields})


def test_a_person_signs_in_chooses_a_password_and_signs_out(gateway: HttpGateway, browser: httpx.Client) -> None:
    given = gateway.archive.accounts.add_user("ann", Role.VIEWER)
    sent = browser.get("/ui/?q=x")
    assert (sent.status_code, sent.headers["Location"]) == (303, "/ui/sign-in?next=%2Fui%2F%3Fq%3Dx")
    wrong = submit(browser, "/ui/sign-in", name="ann", password="wrong")
    assert wrong.status_code == 401
    assert "The name or the password is wrong." in wrong.text
    first = submit(browser, sent.headers["Location"], name="ann", password=given)
    assert (first.status_code, first.headers["Location"]) == (303, "/ui/password")
    assert browser.get("/ui/").headers["Location"] == "/ui/password"
    assert browser.get("/dicom-web/studies").status_code == 403
    changed = submit(browser, "/ui/password", old=given, new=PHRASE, again=PHRASE)
    assert (changed.status_code, changed.headers["Location"]) == (303, "/ui/")
    assert browser.get("/ui/").status_code == 200
    assert browser.get("/dicom-web/studies", headers={"Accept": "application/json"}).status_code in {200, 204}
    assert browser.get("/ui/operations").status_code == 403
    cookie = next(each for each in browser.cookies.jar if each.name == "vna-session")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert submit(browser, "/ui/password", old="wrong", new=PHRASE, again=PHRASE).status_code == 401
    gone = submit_sign_out(browser)
    assert gone.headers["Location"] == "/ui/sign-in"
    assert browser.get("/ui/").status_code == 303


def submit_sign_out(browser: httpx.Client) -> httpx.Response:
    found = re.search(r'name="token" value="([^"]+)"', browser.get("/ui/password").text)
    assert found
    return browser.post("/ui/sign-out", data={"token": found[1]})


def test_signing_in_leads_to_no_other_site(gateway: HttpGateway, browser: httpx.Client) -> None:
    gateway.archive.accounts.add_user("eve", Role.VIEWER, PHRASE)
    for target in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "javascript:alert(1)"):
        answer = submit(browser, "/ui/sign-in", name="eve", password=PHRASE, next=target)
        assert answer.headers["Location"] == "/ui/", target


def test_another_sites_page_changes_nothing(gateway: HttpGateway, browser: httpx.Client) -> None:
    gateway.archive.accounts.add_user("tech", Role.TECHNOLOGIST, PHRASE)
    submit(browser, "/ui/sign-in", name="tech", password=PHRASE)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = browser.post("/dicom-web/studies", content=b"", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "cross-site")
    del browser.headers["Sec-Fetch-Site"]
    answer = browser.post("/dicom-web/studies", content=b"", headers={"Origin": "https://elsewhere.example"})
    assert answer.json()["error"] == "cross-site"
    # A browser keeps a name and password that somebody typed, and adds them whatever page asks.
    browser.cookies.clear()
    kept = basic("tech", PHRASE) | {"Sec-Fetch-Site": "cross-site"}
    answer = browser.post("/dicom-web/workitems/1.2.3/cancelrequest", headers=kept)
    assert answer.json()["error"] == "cross-site"


def test_a_viewer_of_elsewhere_reads_dicomweb_if_it_is_named_and_has_a_key(gateway: HttpGateway) -> None:
    named, other = {"Origin": "https://viewer.example"}, {"Origin": "https://elsewhere.example"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization, accept"}
    allowed = gateway.client.options("/studies", headers=named | asked)
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, "https://viewer.example")
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    assert gateway.client.options("/studies", headers=other | asked).status_code == 400
    key = bearer(gateway.archive.accounts.add_key("viewer-elsewhere", Role.VIEWER))
    read = gateway.client.get("/studies", headers=named | key)
    assert (read.status_code in {200, 204}, read.headers["Access-Control-Allow-Origin"]) == (True, named["Origin"])
    assert "Warning" in read.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in gateway.client.get("/studies", headers=other | key).headers
    # It is told why, too; and of the pages nothing is for other sites.
    refused = gateway.client.get("/studies", headers=named)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, named["Origin"])
    page = gateway.client.get(f"{gateway.url}/ui/sign-in", headers=named)
    assert "Access-Control-Allow-Origin" not in page.headers


def test_behind_a_proxy_with_tls_no_cookie_goes_without(tmp_path: Path) -> None:
    behind = HttpGateway(tmp_path, VNA_HTTP__ALLOW_ANONYMOUS="never", VNA_HTTP__BASE_URL="https://archive.example")
    try:
        given = httpx.get(f"{behind.url}/ui/sign-in", trust_env=False).headers.get_list("set-cookie")
        assert given
        assert all("Secure" in each for each in given)
    finally:
        assert behind.stop() == 0
