"""The page of the audit trail."""

from __future__ import annotations

import hashlib
import re
from html import unescape
from urllib.parse import urljoin

import httpx

from tests.support.audit_message import parse_message
from tests.support.http_gateway import HttpGateway
from tests.support.instances import part10
from tests.support.pages import links, named, rows, wait_for
from vna.security.principals import Role


def test_the_trail_is_searched_and_each_event_has_its_place(read_gateway: HttpGateway, reader: httpx.Client) -> None:
    key = read_gateway.archive.accounts.add_key("reader-of-r58", Role.VIEWER)
    mine = {"Authorization": f"Bearer {key}"}
    assert reader.get("/ui/?id=R58", headers=mine).status_code == 200
    assert reader.get("/ui/audit", headers=mine).status_code == 403
    closed = reader.get("/ui/audit", headers=mine | {"Accept": "text/html"})
    assert closed.status_code == 403
    assert "may not read the audit trail: that is for records-manager and administrator" in closed.text
    assert closed.headers["content-security-policy"]
    found = wait_for(lambda: rows(reader.get("/ui/audit?user=READER-of-r58").text), 2)
    refused, searched = found
    assert "Use of Restricted Function" in refused
    assert "minor failure" in refused
    assert "/ui/?id=R58" in searched
    assert rows(reader.get("/ui/audit?user=reader-of-r58&outcome=failed").text) == [refused]
    assert rows(reader.get("/ui/audit?user=reader-of-r58&kind=query&last=hour").text) == [searched]
    assert rows(reader.get("/ui/audit?user=reader-of-r58&until=2020-01-01").text) == []
    assert "is no time" in reader.get("/ui/audit?since=yesterday").text
    # The patient's studies were told when they were stored, and are found before and after they are sealed.
    stored = rows(reader.get("/ui/audit?patient=R58&kind=instances-transferred").text)
    assert len(stored) == 2
    assert "new" in stored[0]
    assert read_gateway.archive.audit_sealer.seal() is not None
    text = reader.get("/ui/audit?patient=R58&kind=instances-transferred").text
    assert "new" not in rows(text)[0]
    [link, *_] = links(text, "/ui/audit/events/")
    event = unescape(reader.get(link).text)
    assert "its segment is as it was sealed" in event
    objects = read_gateway.archive.objects
    lines = [line for info in objects.list("audit/") for line in objects.get(info.key).splitlines()]
    [line] = [line for line in lines if link.rsplit(".", 1)[1].encode() in line]
    assert hashlib.sha256(line).hexdigest() in event
    message = parse_message(event[event.index("<AuditMessage>") : event.index("</pre>")].encode())
    assert message.find("EventIdentification").get("EventActionCode") == "C"
    exported = reader.get("/ui/audit/messages?patient=R58&kind=instances-transferred")
    assert exported.headers["content-disposition"].startswith("attachment")
    assert [parse_message(line) is not None for line in exported.content.splitlines()] == [True, True]
    # Who reads the trail stands in it.
    exports = "export: Patient ID R58, Event DICOM Instances Transferred"
    wait_for(lambda: [row for row in rows(reader.get("/ui/audit?kind=audit-log-used").text) if exports in row], 1)
    assert reader.get("/ui/audit/events/2026-01-01.1.0123456789abcdef").status_code == 404
    assert reader.get("/ui/audit/events/nonsense").status_code == 400


def test_what_could_not_be_stored_is_told(read_gateway: HttpGateway, reader: httpx.Client) -> None:
    key = read_gateway.archive.accounts.add_key("breaker", Role.TECHNOLOGIST)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/dicom"}
    data = named(part10(study=3, patient="P3"), PatientName="X")
    assert reader.post("/dicom-web/studies/1.2.999", content=data, headers=headers).status_code == 409
    [refused] = wait_for(lambda: rows(reader.get("/ui/audit?user=breaker&outcome=failed").text), 1)
    assert "DICOM Instances Transferred" in refused
    assert "1 of 1 refused" in refused
    # Acknowledged, and then not readable: the fixture sent two.
    broken = rows(reader.get("/ui/audit?user=CT1&kind=instances-transferred&outcome=failed").text)
    assert len(broken) == 2
    assert all("serious failure" in row and "put in quarantine" in row for row in broken)


def test_pages_of_the_trail_follow_each_other_while_it_grows(reader: httpx.Client) -> None:
    path, seen = "/ui/audit?user=CT1", []
    while path:
        text = reader.get(path).text
        seen += re.findall(r'data-href="([^"]+)"', text)
        following = re.findall(r'rel="next" href="([^"]*)"', text)
        path = urljoin("/ui/audit", unescape(following[0])) if following else ""
    assert len(seen) == len(set(seen)) > 50
