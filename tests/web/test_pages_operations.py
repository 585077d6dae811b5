"""The page of operations."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.support.http_gateway import HttpGateway
from tests.support.pages import links, rows, stored, wait_for
from tests.support.ports import free_port
from vna.lifecycle.tiers import advance, last_count


def test_quarantine_is_retried_and_dropped_by_own_pages_alone(read_gateway: HttpGateway, reader: httpx.Client) -> None:
    page = reader.get("/ui/operations")
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
            refused = reader.post(link, data=data | {"reason": "spite"}, headers=headers)
            assert refused.status_code == 403
    assert reader.post(drops[0], data={"token": token, "reason": " "}).status_code == 400
    assert read_gateway.archive.quarantine.count() == 2
    dropped = reader.post(drops[0], data={"token": token, "reason": "no image"})
    assert (dropped.status_code, dropped.headers["location"]) == (303, "/ui/operations?done=dropped")
    assert read_gateway.archive.quarantine.count() == 1
    facts = [
        read_gateway.archive.objects.get(info.key) for info in read_gateway.archive.objects.list("facts/quarantine/")
    ]
    assert len(facts) == 1
    assert b"no image" in facts[0]
    assert b"operations page, from 127.0.0.1" in facts[0]
    retried = reader.post(retries[1], data={"token": token})
    assert retried.headers["location"] == "/ui/operations?done=retried"
    assert read_gateway.archive.quarantine.count() == 0
    assert len(list(read_gateway.archive.spool.entries())) == 1
    assert "is in the spool again" in reader.get(retried.headers["location"]).text
    assert reader.post(retries[1], data={"token": token}).status_code == 404
    accessed = "/ui/audit?kind=instances-accessed&user=anonymous"
    back, gone = wait_for(lambda: [row for row in rows(reader.get(accessed).text) if "quarantine" in row], 2)
    assert "update" in back
    assert "given back from quarantine" in back
    assert "delete" in gone
    assert "dropped from quarantine: no image" in gone


def test_what_is_stored_is_told_in_bytes_by_vendor_and_tier(read_gateway: HttpGateway, reader: httpx.Client) -> None:
    if last_count(read_gateway.archive.objects) is None:
        advance(read_gateway.archive.objects, 60)
    text = reader.get("/ui/operations/state").text
    tables = stored(text)
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


def test_operations_tell_of_each_part_even_when_one_is_away(reader: httpx.Client) -> None:
    text = reader.get("/ui/operations/state").text
    for label in ("Ingest rate", "Stored", "Spool", "Queue", "Workers", "Objects", "Index", "Quarantine"):
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
        answer = httpx.get(f"{gateway.url}/ui/operations", trust_env=False, timeout=60)
        assert answer.status_code == 200
        assert "the workers have not counted the object store yet" in answer.text
    finally:
        assert gateway.stop() == 0
