"""Studies shared by a link: what somebody without an account sees, and how somebody with one makes and revokes it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vna.domain.audit import Role as AuditRole
from vna.domain.audit import StudyObject
from vna.domain.errors import InvalidInputError, NotFoundError
from vna.domain.query import AnyOf, Level, Query
from vna.ports.index import IndexReader
from vna.security.audit_events import exported
from vna.security.principals import Principal, Scope
from vna.security.shares import Share
from vna.web import view_text
from vna.web.pages_http import (
    Handler,
    Site,
    form_token,
    guarded,
    keep_token,
    over_tls,
    page,
    page_route,
    participant_of,
    problem,
    read_form,
)
from vna.web.pages_study import study_with_series
from vna.web.view_study import SERIES_UID, SOP_UID, STUDY_UID, Series, Study

SHARE_COOKIE = "vna-share"
_MOST_PICTURES = 2000


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    table: tuple[tuple[str, str, str, Handler], ...] = (
        ("GET", "/ui/open/{token}", "page-share-open", open_share),
        ("GET", "/ui/shared", "page-shared", shared),
        ("GET", "/ui/shared/{series}", "page-shared-series", shared_series),
        ("GET", "/ui/shares", "page-shares", shares),
        ("POST", "/ui/shares", "page-share-add", add),
        ("POST", "/ui/shares/{share}/revoke", "page-share-revoke", revoke),
    )
    return [page_route(site, *each) for each in table]


# ---- for somebody without an account


@guarded
async def open_share(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/open/{token}``: the token goes into a cookie, out of the address and the browser's history."""
    token = request.path_params["token"]
    share = await site.in_thread(site.archive.shares.check, token)
    if share is None:
        return problem(request, 404, "This link opens nothing", "It is over, or was revoked. Ask who sent it to you.")
    answer = RedirectResponse("/ui/shared", 303)
    secure = over_tls(request)
    seconds = max(0, int(share.expires - time.time()))
    answer.set_cookie(SHARE_COOKIE, token, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure)
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


@guarded
async def shared(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/shared``: the study of the link."""
    share = _share_of(request)
    if share is None:
        return problem(request, 404, "Nothing is shared", "This page is for those who came by a link to a study.")
    study, series = await site.in_thread(_study, site.view(request).index, share.study)
    return page(request, "shared.html", study=study, series=series, hide=share.pictures_only)


@guarded
async def shared_series(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/shared/{series}``: its pictures, one after the other."""
    share = _share_of(request)
    if share is None:
        return problem(request, 404, "Nothing is shared", "This page is for those who came by a link to a study.")
    uid = request.path_params["series"]
    study, every = await site.in_thread(_study, site.view(request).index, share.study)
    found = next((each for each in every if each.uid == uid), None)
    if found is None:
        raise NotFoundError("the shared study has no such series")
    pictures = await site.in_thread(_pictures, site.view(request).index, found)
    return page(request, "shared_series.html", study=study, series=found, pictures=pictures, hide=share.pictures_only)


def _share_of(request: Request) -> Scope | None:
    principal: Principal = request.state.principal
    return principal.scope


def _study(index: IndexReader, uid: str) -> tuple[Study, list[Series]]:
    found = study_with_series(index, uid)
    if found is None:
        raise NotFoundError("the study is not in the archive any more")
    return found


def _pictures(index: IndexReader, series: Series) -> list[str]:
    own = (AnyOf(STUDY_UID, (series.study.uid,)), AnyOf(SERIES_UID, (series.uid,)))
    base = f"{series.study.dicomweb}/series/{view_text.segment(series.uid)}/instances"
    found = []
    for hit in index.query(Query(Level.INSTANCE, own, _MOST_PICTURES)):
        sop = view_text.segment(view_text.first(hit.attributes, SOP_UID))
        frames = max(1, view_text.number(hit.attributes, "00280008"))
        found += [f"{base}/{sop}/frames/{frame}/rendered?accept=image/jpeg" for frame in range(1, frames + 1)]
    return found[:_MOST_PICTURES]


# ---- for somebody with an account


@guarded
async def shares(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/shares?study=``: what is shared, and the form to share a study."""
    return await _list(site, request, request.query_params.get("study", ""))


@guarded
async def add(site: Site, request: Request) -> Response:
    """Answer the form that shares a study."""
    fields = await read_form(request)
    if fields is None:
        return problem(request, 403, "Not from here", "This form was not sent by a page of the archive.")
    principal: Principal = request.state.principal
    uid, days = fields.get("study", ""), fields.get("days", "")
    await site.in_thread(_study, site.view(request).index, uid)
    if not (days.isascii() and days.isdigit()):
        raise InvalidInputError("the days are no number")

    def make() -> tuple[Share, str]:
        note, hide = fields.get("note", ""), fields.get("hide") == "on"
        return site.archive.shares.add(
            uid, principal.name, days=int(days), note=note, hide_patient=hide, limits=principal.limits
        )

    share, token = await site.in_thread(make)
    who = replace(participant_of(request), role=AuditRole.SOURCE)
    media = f"link {share.id}, {days} days"
    studies = await site.in_thread(site.archive.audit_patients.fill, (StudyObject(uid),))
    site.archive.audit.record(exported(who, media, studies))
    base = site.archive.settings.http.base_url or str(request.base_url).rstrip("/")
    return await _list(site, request, uid, made=f"{base}/ui/open/{token}")


@guarded
async def revoke(site: Site, request: Request) -> Response:
    """Answer the button that revokes a link."""
    if await read_form(request) is None:
        return problem(request, 403, "Not from here", "This form was not sent by a page of the archive.")
    share = await site.in_thread(site.archive.shares.get, request.path_params["share"])
    if not await site.in_thread(_there, site, request, [share]):
        raise NotFoundError(f"nothing is shared as {share.id}")
    await site.in_thread(site.archive.shares.remove, share.id)
    return RedirectResponse(f"/ui/shares?{view_text.query(study=share.study)}", 303)


def _there(site: Site, request: Request, shares: Iterable[Share]) -> list[Share]:
    """Return the links to studies that are there for whoever asks, the latest first.

    Who has no limits sees those to studies that are gone, too.
    """
    principal: Principal = request.state.principal
    found = sorted(shares, key=lambda each: -each.created)
    if not principal.limits:
        return found
    query = Query(Level.STUDY, (AnyOf(STUDY_UID, tuple({each.study for each in found})),))
    there = {view_text.first(hit.attributes, STUDY_UID) for hit in site.view(request).index.query(query)}
    return [each for each in found if each.study in there]


async def _list(site: Site, request: Request, study: str, made: str = "") -> Response:
    found = await site.in_thread(lambda: _there(site, request, site.archive.shares.list(study)))
    now = time.time()
    rows = [
        {
            "id": each.id,
            "study": each.study,
            "by": each.by,
            "note": each.note,
            "hide": each.hide_patient,
            "ends": view_text.moment(each.expires * 1_000_000),
            "over": each.expires <= now,
        }
        for each in found
    ]
    token = form_token(request)
    answer = page(request, "shares.html", shares=rows, study=study, made=made, token=token)
    return keep_token(request, answer, token)
