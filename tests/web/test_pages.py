"""The pages of a real gateway, as a browser without scripts gets them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from html import unescape
from io import BytesIO
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from pydicom import dcmread

from tests.support.audit_message import parse_message
from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10, spool_one
from tests.support.ports import free_port, wait_until
from tests.support.real_files import real_file
from vna.lifecycle.tiers import advance
from vna.security.principals import Role

SCRIPT = "<script>alert(1)</script>"
CT = dcmread(real_file("CT_small.dcm"), stop_before_pixels=True)


def named(data: bytes, **changes: str) -> bytes:
    ds = dcmread(BytesIO(data))
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    target = BytesIO()
    ds.save_as(target)
    return target.getvalue()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tmp_path_factory.mktemp("pages"))
    files = [
        named(part10(study=1, patient="P1"), PatientName=SCRIPT, StudyDescription=SCRIPT, PatientID=f"{SCRIPT}/.."),
        real_file("CT_small.dcm").read_bytes(),
        real_file("MR_small.dcm").read_bytes(),
    ]
    for number in range(100, 160):
        changes = {
            "PatientName": f"Row^N{number}",
            "StudyDate": f"2020{1 + number % 12:02}{1 + number % 28:02}",
            "Manufacturer": "ACME" if number % 2 else "Other",
            "Modality": "MR" if number % 3 else "CT",
        }
        files.append(named(part10(study=number, patient=f"R{number // 2}"), **changes))
    for data in files:
        spool_one(gateway.archive.spool, data)
    spool_one(gateway.archive.spool, named(part10(study=2), StudyInstanceUID=""))
    spool_one(gateway.archive.spool, b"this is not DICOM at all")
    gateway.ingest()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def browser(gateway: HttpGateway) -> Iterator[httpx.Client]:
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": gateway.url}
    with httpx.Client(base_url=gateway.url, timeout=60, trust_env=False, headers=headers) as client:
        yield client


def wait_for(ask: Callable[[], list[str]], count: int) -> list[str]:
    """Ask until there are so many: the trail is written a moment after the answer."""
    found: list[str] = []

    def enough() -> bool:
        found[:] = ask()
        return len(found) >= count

    wait_until(enough, 10, "the trail has it")
    return found


def names(text: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<td class="who"[^>]*><a[^>]*>([^<]*)</a>', text)]


def links(text: str, start: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'(?:href|src|action)="([^"]*)"', text) if found.startswith(start)]


PAGES = (
    "/ui/",
    "/ui/?q=row&facets=1",
    "/ui/facets",
    f"/ui/patients?id={CT.PatientID}",
    f"/ui/studies/{CT.StudyInstanceUID}",
    f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}",
    f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}/{CT.SOPInstanceUID}",
    "/ui/audit",
    "/ui/operations",
    "/ui/operations/state",
    "/ui/operations/quarantine",
    "/ui/studies/1.2.3.4.5.6.7",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_closed_to_others_and_kept_by_nobody(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == (404 if path.endswith(".6.7") else 200)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert not re.search(r"\sstyle=|\son\w+=|<script>|<style", answer.text)
    # Nothing comes from elsewhere.
    assert not links(answer.text, "http")
    assert not links(answer.text, "//")
    for link in links(answer.text, "/ui/static/"):
        assert browser.get(link).headers["cache-control"].endswith("immutable")


def test_a_browser_at_the_root_comes_to_the_pages(browser: httpx.Client) -> None:
    answer = browser.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")
    assert browser.get("/").json()["pages"].endswith("/ui/")


def test_static_files_and_nothing_else(browser: httpx.Client) -> None:
    for name in ("style.css", "app.js", "theme.js", "icon.svg"):
        assert browser.get(f"/ui/static/{name}").status_code == 200
    for name in ("..%2fpages_http.py", "%2e%2e/routes.py", "pages_http.py", "none.css", ".css"):
        assert browser.get(f"/ui/static/{name}").status_code == 404


def test_values_are_text_and_never_markup(browser: httpx.Client) -> None:
    listed = browser.get("/ui/?q=%3Cscript%3E")
    assert names(listed.text) == [SCRIPT]
    [study] = set(links(listed.text, "/ui/studies/"))
    [patient] = set(links(listed.text, "/ui/patients"))
    shown = [listed, browser.get(study), browser.get(patient)]
    shown.append(browser.get(links(shown[1].text, "/ui/instances")[0]))
    for page in shown:
        assert page.status_code == 200
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert "<script>alert" not in page.text
    for page in (
        browser.get(f"/ui/?q={SCRIPT}&id={SCRIPT}&body={SCRIPT}"),
        browser.get("/ui/studies/<script>alert(1)"),
    ):
        assert "<script>alert" not in page.text


def test_pages_of_the_worklist_hold_each_study_once(browser: httpx.Client) -> None:
    for sort in ("-date", "date", "name", "-name"):
        first = browser.get("/ui/", params={"q": "row", "sort": sort}).text
        [link] = re.findall(r'rel="next" href="([^"]*)"', first)
        second = browser.get(urljoin("/ui/", unescape(link))).text
        found = names(first) + names(second)
        assert (len(names(first)), len(found), len(set(found))) == (50, 60, 60), sort
        if sort == "name":
            assert found == sorted(found)
        if sort == "-name":
            assert found == sorted(found, reverse=True)
        dates = re.findall(r"2020-\d\d-\d\d", first + second)
        if sort == "-date":
            assert dates == sorted(dates, reverse=True)
        if sort == "date":
            assert dates == sorted(dates)
    assert names(browser.get("/ui/?q=row&page=99").text) == names(browser.get("/ui/?q=row&page=2").text)


def facet(text: str, label: str) -> dict[str, int]:
    [section] = re.findall(rf"<h2>{label} .*?</section>", text, re.DOTALL)
    values = re.findall(r'title="([^"]*)">[^<]*</span><span class="count">(\d+)', section)
    return {value: int(count) for value, count in values}


def test_facets_narrow_and_count_what_the_others_leave(browser: httpx.Client) -> None:
    query = "name=Row&modality=CT&manufacturer=ACME"
    listed = browser.get(f"/ui/?{query}")
    assert "<h1>10 studies</h1>" in listed.text
    counted = browser.get(f"/ui/facets?{query}").text
    assert facet(counted, "Modality") == {"CT": 10, "MR": 20}
    assert facet(counted, "Manufacturer") == {"ACME": 10, "Other": 10}
    by_words = browser.get("/ui/facets?q=row").text
    assert facet(by_words, "Manufacturer") == {"ACME": 30, "Other": 30}
    assert "<h1>60 studies</h1>" in browser.get("/ui/?name=row&modality=CT&modality=MR").text


def test_fields_and_dates(browser: httpx.Client) -> None:
    assert len(names(browser.get("/ui/?id=R50").text)) == 2
    assert len(names(browser.get("/ui/?name=Row&start=2020-03-01&end=2020-03-31").text)) == 5
    assert "No study matches" in browser.get("/ui/?when=today&q=row").text
    wrong = browser.get("/ui/?start=yesterday")
    assert wrong.status_code == 400
    assert "is no date" in wrong.text


def test_a_patient_is_an_id_within_its_issuer(browser: httpx.Client) -> None:
    page = browser.get("/ui/patients?id=R50").text
    assert len(set(links(page, "/ui/studies/"))) == 2
    assert "Row, N100; Row, N101" in unescape(page) or "Row, N101; Row, N100" in unescape(page)
    assert browser.get("/ui/patients?id=R50&issuer=elsewhere").status_code == 404


def test_a_study_leads_to_pictures_viewers_and_files(browser: httpx.Client) -> None:
    uid, series = CT.StudyInstanceUID, CT.SeriesInstanceUID
    page = browser.get(f"/ui/studies/{uid}").text
    for link in (
        f"/dicom-web/studies/{uid}/series/{series}/thumbnail",
        f"/ui/viewer?study={uid}",
        f"/ohif/viewer?StudyInstanceUIDs={uid}",
        f"/dicom-web/studies/{uid}?accept=application/zip",
        f"/ui/instances/{uid}/{series}",
    ):
        assert link in unescape(page), link
    assert 'loading="lazy"' in page


def test_attributes_of_a_real_file(browser: httpx.Client) -> None:
    page = unescape(browser.get(f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}").text)
    for text in ("PatientName", "CompressedSamples^CT1", "GEMS_PARM_01", "(0002,0010)", "CT Image Storage"):
        assert text in page, text
    assert browser.get(f"/ui/instances/{CT.StudyInstanceUID}/{CT.SeriesInstanceUID}?n=2").status_code == 404


def test_quarantine_is_retried_and_dropped_by_own_pages_alone(gateway: HttpGateway, browser: httpx.Client) -> None:
    page = browser.get("/ui/operations")
    assert "StudyInstanceUID" in page.text
    forms = links(page.text, "/ui/operations/quarantine/")
    retries, drops = ([link for link in forms if link.endswith(end)] for end in ("/retry", "/drop"))
    assert len(retries) == len(drops) == 2
    [token] = set(re.findall(r'name="token" value="([^"]*)"', page.text))
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    # The token's cookie does not help a page of somebody else.
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    for headers, data in ((foreign, {"token": token}), ({}, {"token": "x" * 43}), ({}, {})):
        for link in (retries[0], drops[0]):
            refused = browser.post(link, data=data | {"reason": "spite"}, headers=headers)
            assert refused.status_code == 403
    assert browser.post(drops[0], data={"token": token, "reason": " "}).status_code == 400
    assert gateway.archive.quarantine.count() == 2
    dropped = browser.post(drops[0], data={"token": token, "reason": "no image"})
    assert (dropped.status_code, dropped.headers["location"]) == (303, "/ui/operations?done=dropped")
    assert gateway.archive.quarantine.count() == 1
    facts = [gateway.archive.objects.get(info.key) for info in gateway.archive.objects.list("facts/quarantine/")]
    assert len(facts) == 1
    assert b"no image" in facts[0]
    assert b"operations page, from 127.0.0.1" in facts[0]
    retried = browser.post(retries[1], data={"token": token})
    assert retried.headers["location"] == "/ui/operations?done=retried"
    assert gateway.archive.quarantine.count() == 0
    assert len(list(gateway.archive.spool.entries())) == 1
    assert "is in the spool again" in browser.get(retried.headers["location"]).text
    assert browser.post(retries[1], data={"token": token}).status_code == 404
    accessed = "/ui/audit?kind=instances-accessed&user=anonymous"
    back, gone = wait_for(lambda: [row for row in rows(browser.get(accessed).text) if "quarantine" in row], 2)
    assert "update" in back
    assert "given back from quarantine" in back
    assert "delete" in gone
    assert "dropped from quarantine: no image" in gone


def cells(row: str) -> list[str]:
    found = (re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL))
    return [unescape(cell) for cell in found]


def rows(text: str) -> list[str]:
    return [re.sub(r"<[^>]+>|\s+", " ", row) for row in re.findall(r"<tr data-href=.*?</tr>", text, re.DOTALL)]


def test_the_trail_is_searched_and_each_event_has_its_place(gateway: HttpGateway, browser: httpx.Client) -> None:
    key = gateway.archive.accounts.add_key("reader-of-r58", Role.VIEWER)
    mine = {"Authorization": f"Bearer {key}"}
    assert browser.get("/ui/?id=R58", headers=mine).status_code == 200
    assert browser.get("/ui/audit", headers=mine).status_code == 403
    found = wait_for(lambda: rows(browser.get("/ui/audit?user=READER-of-r58").text), 2)
    refused, searched = found
    assert "Use of Restricted Function" in refused
    assert "minor failure" in refused
    assert "/ui/?id=R58" in searched
    assert rows(browser.get("/ui/audit?user=reader-of-r58&outcome=failed").text) == [refused]
    assert rows(browser.get("/ui/audit?user=reader-of-r58&kind=query&last=hour").text) == [searched]
    assert rows(browser.get("/ui/audit?user=reader-of-r58&until=2020-01-01").text) == []
    assert "is no time" in browser.get("/ui/audit?since=yesterday").text
    # The patient's studies were told when they were stored, and are found before and after they are sealed.
    stored = rows(browser.get("/ui/audit?patient=R58&kind=instances-transferred").text)
    assert len(stored) == 2
    assert "new" in stored[0]
    assert gateway.archive.audit_sealer.seal() is not None
    text = browser.get("/ui/audit?patient=R58&kind=instances-transferred").text
    assert "new" not in rows(text)[0]
    [link, *_] = links(text, "/ui/audit/events/")
    event = unescape(browser.get(link).text)
    assert "its segment is as it was sealed" in event
    head = gateway.archive.audit_sealer.head()
    assert head is not None
    lines = gateway.archive.objects.get(head.key).splitlines()
    [line] = [line for line in lines if link.rsplit(".", 1)[1].encode() in line]
    assert hashlib.sha256(line).hexdigest() in event
    message = parse_message(event[event.index("<AuditMessage>") : event.index("</pre>")].encode())
    assert message.find("EventIdentification").get("EventActionCode") == "C"
    exported = browser.get("/ui/audit/messages?patient=R58&kind=instances-transferred")
    assert exported.headers["content-disposition"].startswith("attachment")
    assert [parse_message(line) is not None for line in exported.content.splitlines()] == [True, True]
    # Who reads the trail stands in it.
    exports = "export: Patient ID R58, Event DICOM Instances Transferred"
    wait_for(lambda: [row for row in rows(browser.get("/ui/audit?kind=audit-log-used").text) if exports in row], 1)
    assert browser.get("/ui/audit/events/2026-01-01.1.0123456789abcdef").status_code == 404
    assert browser.get("/ui/audit/events/nonsense").status_code == 400


def test_what_could_not_be_stored_is_told(gateway: HttpGateway, browser: httpx.Client) -> None:
    key = gateway.archive.accounts.add_key("breaker", Role.TECHNOLOGIST)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/dicom"}
    data = named(part10(study=3, patient="P3"), PatientName="X")
    assert browser.post("/dicom-web/studies/1.2.999", content=data, headers=headers).status_code == 409
    [refused] = wait_for(lambda: rows(browser.get("/ui/audit?user=breaker&outcome=failed").text), 1)
    assert "DICOM Instances Transferred" in refused
    assert "1 of 1 refused" in refused
    # Acknowledged, and then not readable: the fixture sent two.
    broken = rows(browser.get("/ui/audit?user=CT1&kind=instances-transferred&outcome=failed").text)
    assert len(broken) == 2
    assert all("serious failure" in row and "put in quarantine" in row for row in broken)


def test_pages_of_the_trail_follow_each_other_while_it_grows(browser: httpx.Client) -> None:
    path, seen = "/ui/audit?user=CT1", []
    while path:
        text = browser.get(path).text
        seen += re.findall(r'data-href="([^"]+)"', text)
        following = re.findall(r'rel="next" href="([^"]*)"', text)
        path = urljoin("/ui/audit", unescape(following[0])) if following else ""
    assert len(seen) == len(set(seen)) > 50


def test_what_is_stored_is_told_in_bytes_by_vendor_and_tier(gateway: HttpGateway, browser: httpx.Client) -> None:
    assert "have not counted the object store yet" in browser.get("/ui/operations").text
    while advance(gateway.archive.objects) is None:
        pass
    text = browser.get("/ui/operations/state").text
    stored = re.findall(r"<section>(.*?)</section>", text, re.DOTALL)
    tables = {re.findall(r"<h3>(\w+)", part)[0]: [cells(row) for row in part.split("<tr>")[2:]] for part in stored}
    assert list(tables) == ["Tier", "Manufacturer", "Modality", "Institution"]
    [[tier, size, instances]] = tables["Tier"]
    assert (tier, instances) == ("STANDARD", "63")
    assert size.endswith("KiB")
    by_vendor = {vendor: (studies, instances) for vendor, _size, studies, instances in tables["Manufacturer"]}
    assert by_vendor == {
        "ACME": ("30", "30"),
        "Other": ("30", "30"),
        "not given": ("1", "1"),
        "GE MEDICAL SYSTEMS": ("1", "1"),
        "TOSHIBA_MEC": ("1", "1"),
    }
    assert len(re.findall(r"(?:listed|counted) \d+ s ago", text)) == 4


def test_operations_tell_of_each_part_even_when_one_is_away(browser: httpx.Client) -> None:
    text = browser.get("/ui/operations/state").text
    for label in ("Ingest rate", "Stored", "Spool", "Queue", "Workers", "Objects", "Quarantine"):
        assert f"<h2>{label}" in text, label
    # This archive has no broker and no workers: that is said, and hides nothing else.
    assert text.count('class="bad"') >= 2
    assert "63 studies" in text


def test_an_index_that_is_away_is_said(tmp_path: Path) -> None:
    away = {"VNA_INDEX__KIND": "elasticsearch", "VNA_INDEX__HOSTS": f'["http://127.0.0.1:{free_port()}"]'}
    gateway = HttpGateway(tmp_path, **away)
    try:
        for path in ("/ui/", "/ui/facets", "/ui/studies/1.2.3"):
            answer = httpx.get(gateway.url + path, trust_env=False, timeout=60)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert answer.headers["content-security-policy"]
            assert "does not answer" in answer.text
        assert httpx.get(f"{gateway.url}/ui/operations", trust_env=False, timeout=60).status_code == 200
    finally:
        assert gateway.stop() == 0
