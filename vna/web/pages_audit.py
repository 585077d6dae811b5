"""``/ui/audit``: who saw, sent, changed or deleted what. To look is told in the trail itself (PS3.15 A.5.3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from vna.bootstrap import Archive
from vna.domain.errors import InvalidQueryError, NotFoundError
from vna.security.audit_chain import Head
from vna.security.audit_events import audit_log_used
from vna.security.audit_filter import AuditFilter
from vna.security.audit_search import AuditEntry, AuditPage
from vna.security.audit_state import Place, Verified, last_verified, place
from vna.security.audit_xml import to_xml
from vna.web import view_text
from vna.web.pages_http import SECURITY_HEADERS, Site, guarded, page, participant_of
from vna.web.view_audit import KINDS, OUTCOMES, SPANS, AskedAudit, Row, message, people, rows

PATH = "/ui/audit"
PAGE = 50
_SECONDS = 2.0
_BLOCK = 1 << 16


@guarded
async def audit(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/audit``."""
    asked = AskedAudit.parse(request.query_params)
    context: dict[str, Any] = {"kinds": KINDS, "outcomes": OUTCOMES, "spans": SPANS, "asked": asked}
    head, verified = await site.in_thread(_state, site.archive)
    context |= {"head": head, "verified": verified, "kept": site.archive.settings.audit.enabled}
    try:
        found = await site.in_thread(_page, site.archive, asked.filter(), asked.after)
    except InvalidQueryError as error:
        return page(request, "audit.html", 400, wrong=str(error), rows=[], next="", looked="", **context)
    _used(site.archive, request, f"list: {asked.sentence}")
    looked = "" if found.looked_us is None else view_text.moment(found.looked_us)
    return page(request, "audit.html", wrong="", rows=rows(found.entries), next=found.next, looked=looked, **context)


@guarded
async def event(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/audit/events/{position}``."""
    position = request.path_params["position"]
    archive = site.archive
    found = await site.in_thread(_entry, archive, position)
    if found is None:
        raise NotFoundError("the trail has no such event")
    entry, where = found
    _used(archive, request, f"event {entry.event.id}")
    settings = archive.settings
    return page(
        request,
        "audit_event.html",
        row=Row(entry),
        entry=entry,
        people=people(entry.event),
        place=where,
        sealed=view_text.iso_moment(where.sealed) if where else "",
        message=message(entry, settings.host_id, settings.audit.site),
    )


@guarded
async def messages(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/audit/messages``: the selection as DICOM audit messages, one XML element a line."""
    asked = AskedAudit.parse(request.query_params)
    wanted = asked.filter()
    _used(site.archive, request, f"export: {asked.sentence}")
    name = f"audit-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.xml"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(
        _lines(site.archive, wanted), headers=SECURITY_HEADERS | headers, media_type="application/octet-stream"
    )


def _page(archive: Archive, wanted: AuditFilter, after: str) -> AuditPage:
    return archive.audit_reader.page(wanted, PAGE, after, _SECONDS)


def _state(archive: Archive) -> tuple[Head | None, Verified | None]:
    return archive.audit_sealer.head(), last_verified(archive.objects)


def _entry(archive: Archive, position: str) -> tuple[AuditEntry, Place | None] | None:
    entry = archive.audit_reader.entry(position)
    if entry is None:
        return None
    return entry, place(archive.objects, entry.segment, entry.sequence) if entry.segment else None


def _lines(archive: Archive, wanted: AuditFilter) -> Iterator[bytes]:
    source, where = archive.settings.host_id, archive.settings.audit.site
    block = bytearray()
    for entry in archive.audit_reader.all(wanted):
        block += to_xml(entry.event, entry.chain or source, where) + b"\n"
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def _used(archive: Archive, request: Request, what: str) -> None:
    archive.audit.record(audit_log_used(participant_of(request), archive.process, PATH, what))
