"""``/ui/operations``: what runs and what waits; retry and drop of what is in quarantine."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vna.domain.errors import ConflictError, IntegrityError, InvalidInputError
from vna.ingest import audited, backlog
from vna.web.pages_http import (
    SECURITY_HEADERS,
    Site,
    address_of,
    form_token,
    guarded,
    keep_token,
    page,
    participant_of,
    principal_of,
    problem,
    read_form,
)
from vna.web.view_operations import quarantined, state

_LONGEST_REASON = 500
_DONE = {
    "retried": "The entry is in the spool again and will be tried once more.",
    "dropped": "The entry is destroyed; what it was, and why it was dropped, is kept.",
}

_log = logging.getLogger(__name__)


@guarded
async def operations(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/operations``."""
    found = await site.in_thread(state, site.archive, site.watch)
    items, count = await site.in_thread(quarantined, site.archive)
    token = form_token(request)
    done = _DONE.get(request.query_params.get("done", ""), "")
    answer = page(request, "operations.html", state=found, items=items, count=count, token=token, done=done)
    return keep_token(request, answer, token)


@guarded
async def operations_state(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/operations/state``: the part that is asked for again every few seconds."""
    found = await site.in_thread(state, site.archive, site.watch)
    return page(request, "operations_state.html", state=found)


@guarded
async def operations_quarantine(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/operations/quarantine``: the other part, left alone while somebody types in it."""
    items, count = await site.in_thread(quarantined, site.archive)
    token = form_token(request)
    answer = page(request, "operations_quarantine.html", items=items, count=count, token=token)
    return keep_token(request, answer, token)


@guarded
async def retry(site: Site, request: Request) -> Response:
    """Answer ``POST /ui/operations/quarantine/{entry}/retry``."""
    if await read_form(request) is None:
        return _refused(request)
    archive = site.archive
    entry = request.path_params["entry"]
    item = await site.in_thread(archive.quarantine.show, entry)
    try:
        await site.in_thread(backlog.retry, archive.quarantine, archive.queue, archive.settings.spool.id, [item.id])
    except IntegrityError as error:
        # What is kept is not what was received: that is forced back on the command line alone, if at all.
        raise ConflictError(str(error)) from error
    archive.audit.record(audited.given_back(participant_of(request), archive.process, item))
    _log.info("quarantine: %s is given back by %s", entry, _who(request))
    return _done("retried")


@guarded
async def drop(site: Site, request: Request) -> Response:
    """Answer ``POST /ui/operations/quarantine/{entry}/drop``."""
    form = await read_form(request)
    if form is None:
        return _refused(request)
    reason = form.get("reason", "").strip()[:_LONGEST_REASON]
    if not reason:
        raise InvalidInputError("say why the entry is dropped: the reason is kept")
    archive = site.archive
    entry = request.path_params["entry"]
    item = await site.in_thread(archive.quarantine.drop, entry, reason, _who(request))
    archive.audit.record(audited.dropped(participant_of(request), archive.process, item, reason))
    _log.info("quarantine: %s is dropped by %s", entry, _who(request))
    return _done("dropped")


def _who(request: Request) -> str:
    who = principal_of(request)
    name = f"{who.name}, by the " if who and who.means == "session" else ""
    return f"{name}operations page, from {address_of(request) or 'unknown'}"


def _done(what: str) -> Response:
    return RedirectResponse(f"/ui/operations?done={what}", 303, headers=SECURITY_HEADERS)


def _refused(request: Request) -> Response:
    detail = "The form did not come from a page of this archive, or it is too old. Open the page again and repeat."
    return problem(request, 403, "The request is refused", detail)
