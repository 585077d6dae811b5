"""Signing in with an account of the organisation (OpenID Connect)."""

from __future__ import annotations

import hmac
import logging
import secrets

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vna.domain.errors import ArchiveError
from vna.web.pages_http import Site, guarded, page_route, problem
from vna.web.sign_in import own_path, tell, with_session

_COOKIE = "vna-provider"
_SECONDS = 600
_CALLBACK = "/ui/sign-in/provider/callback"

log = logging.getLogger(__name__)


def routes(site: Site) -> list[Route]:
    """Return the routes of these pages."""
    return [
        page_route(site, "GET", "/ui/sign-in/provider", "page-provider", begin),
        page_route(site, "GET", _CALLBACK, "page-provider-callback", end),
    ]


def _redirect_uri(site: Site, request: Request) -> str:
    base = site.archive.settings.http.base_url or str(request.base_url)
    return base.rstrip("/") + _CALLBACK


@guarded
async def begin(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/sign-in/provider?next=``: send the browser to the provider."""
    provider = site.archive.oidc
    if provider is None:
        return problem(request, 404, "Not set up", "This archive has no OpenID provider (VNA_OIDC__ISSUER).")
    kept = {
        "state": secrets.token_urlsafe(24),
        "nonce": secrets.token_urlsafe(24),
        "verifier": secrets.token_urlsafe(48),
        "next": own_path(request.query_params.get("next", "")),
    }
    uri = _redirect_uri(site, request)
    url = await site.in_thread(provider.authorize_url, uri, kept["state"], kept["nonce"], kept["verifier"])
    sealed = await site.in_thread(site.archive.sessions.seal, orjson.dumps(kept).decode(), _SECONDS)
    answer = RedirectResponse(url, 303)
    answer.set_cookie(
        _COOKIE, sealed, max_age=_SECONDS, path="/ui/sign-in", httponly=True, samesite="lax", secure=uri[:6] == "https:"
    )
    return answer


@guarded
async def end(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/sign-in/provider/callback``: the browser comes back from the provider."""
    provider = site.archive.oidc
    asked = request.query_params
    sealed = await site.in_thread(site.archive.sessions.unseal, request.cookies.get(_COOKIE, ""))
    kept = orjson.loads(sealed) if sealed else {}
    state = asked.get("state", "")
    if provider is None or not kept or not hmac.compare_digest(state.encode(), kept["state"].encode()):
        answer = problem(request, 400, "Sign in again", "This sign-in was not begun here, or took too long.")
    elif "error" in asked:
        text = asked.get("error_description") or asked["error"]
        answer = problem(request, 403, "Not signed in", f"The provider says: {text[:300]}")
    else:
        answer = await _finish(site, request, kept)
    answer.delete_cookie(_COOKIE, path="/ui/sign-in")
    return answer


async def _finish(site: Site, request: Request, kept: dict[str, str]) -> Response:
    provider = site.archive.oidc
    assert provider is not None
    code = request.query_params.get("code", "")
    try:
        uri = _redirect_uri(site, request)
        found = await site.in_thread(provider.redeem, code, uri, kept["nonce"], kept["verifier"])
    except ArchiveError as error:
        log.warning("a sign-in by the provider failed: %s", error)
        return problem(request, 503 if error.retry else 403, "Not signed in", str(error))
    if found is None:
        return problem(
            request, 403, "No role here", "You are signed in there, but have no role in this archive. Ask who runs it."
        )
    session = await site.in_thread(site.archive.sessions.issue_external, found.name, found.role, found.limits)
    tell(site, request, found.name)
    return with_session(request, session, kept["next"])
