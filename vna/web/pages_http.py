"""What every page has in common over HTTP: templates, security headers, errors, forms."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vna.bootstrap import Archive
from vna.domain import errors, quantities
from vna.domain.audit import Participant
from vna.security.principals import Permission, Principal
from vna.security.views import View
from vna.web import view_text
from vna.web.view_operations import Watch

HERE = Path(__file__).parent
TOKEN_COOKIE = "vna-form"  # noqa: S105  # the name of a cookie
TOKEN_FIELD = "token"  # noqa: S105  # the name of a form's field
_LONGEST_FORM = 8192
_FORM_SECONDS = 30.0
_RETRY_SECONDS = "10"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers then say of the archive's own forms that their origin is "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every page: nothing comes from elsewhere, nobody frames it, no address with a patient's number is told."""

_log = logging.getLogger(__name__)
_STATIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STATIC_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}

# The first that fits counts.
_ERRORS: tuple[tuple[type[errors.ArchiveError], int, str], ...] = (
    (errors.NotFoundError, 404, "Not found"),
    (errors.WithheldError, 403, "This is not shown"),
    (errors.InvalidInputError, 400, "This cannot be searched for"),
    (errors.ConflictError, 409, "Somebody was faster"),
    (errors.OutOfResourcesError, 503, "The archive is out of space"),
    (errors.UnavailableError, 503, "A part of the archive does not answer"),
    (errors.ArchiveError, 500, "The archive failed"),
)

T = TypeVar("T")


class InThread(Protocol):
    """Runs a blocking call in a thread."""

    def __call__(self, call: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Return what the call returns."""


Handler = Callable[["Site", Request], Awaitable[Response]]


class Site:
    """The archive and how its blocking calls are made, for every handler of a page."""

    def __init__(self, archive: Archive, in_thread: InThread) -> None:
        self.archive = archive
        self.in_thread = in_thread
        self.watch = Watch()

    def view(self, request: Request) -> View:
        """Return the archive as whoever asks sees it: what is read for them is found by its index."""
        return self.archive.views.of(request.state.principal)


def page_route(site: Site, method: str, path: str, name: str, handler: Handler) -> Route:
    """Return the route of a page; ``name`` is what it is called in the metrics."""

    async def endpoint(request: Request) -> Response:
        return await handler(site, request)

    return Route(path, endpoint, methods=[method], name=name)


def over_tls(request: Request) -> bool:
    """Say whether the browser speaks TLS, to this gateway or to a proxy in front: then cookies are for TLS alone."""
    return request.url.scheme == "https" or bool(request.app.state.base_url.startswith("https:"))


@lru_cache(1)
def templates() -> jinja2.Environment:
    """Return the templates. Everything is escaped; a name that is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        grouped=view_text.grouped, size=quantities.size, age=quantities.age, segment=view_text.segment
    )
    environment.globals["static"] = static_url
    return environment


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Return a page, or a part of one. It may name a patient, so nobody keeps it."""
    who = principal_of(request)
    context = {
        "here": request.url.path,
        "q": "",
        "me": who.name if who and who.means == "session" else "",
        "may_read": who is not None and (who.may(Permission.READ) or who.may(Permission.READ_DEIDENTIFIED)),
        "deidentified": who is not None and not who.may(Permission.READ),
        "may_observe": who is not None and who.may(Permission.OBSERVE),
        "may_audit": who is not None and who.may(Permission.AUDIT),
        "may_operate": who is not None and who.may(Permission.OPERATE),
        "token": form_token(request),
    } | context
    body = templates().get_template(template).render(context)
    answer = HTMLResponse(body, status, headers=SECURITY_HEADERS | {"Cache-Control": "no-store"})
    # The form to sign out is on every page of somebody who signed in.
    return keep_token(request, answer, str(context["token"])) if context["me"] else answer


def principal_of(request: Request) -> Principal | None:
    """Return who asks, as the gateway found out; ``None`` for somebody who has yet to sign in."""
    found = getattr(request.state, "principal", None)
    return found if isinstance(found, Principal) else None


def address_of(request: Request) -> str:
    """Return the network address that a request comes from, empty if it has none."""
    return request.client.host if request.client else ""


def participant_of(request: Request) -> Participant:
    """Return who asks, for the audit trail."""
    who = principal_of(request)
    return Participant(who.name if who else "anonymous", requestor=True, address=address_of(request))


def problem(request: Request, status: int, title: str, detail: str) -> Response:
    """Return the page of what went wrong."""
    answer = page(request, "problem.html", status, title=title, detail=detail, code=status)
    if status == 503:
        answer.headers["Retry-After"] = _RETRY_SECONDS
    return answer


def guarded(handler: Handler) -> Handler:
    """Return a handler that answers an error of the archive with a page that says what is wrong."""

    @wraps(handler)
    async def guard(site: Site, request: Request) -> Response:
        try:
            return await handler(site, request)
        except errors.ArchiveError as error:
            status, title = next((status, title) for kind, status, title in _ERRORS if isinstance(error, kind))
            if status >= 500:
                _log.error("%s: %s", request.url.path, error)
            return problem(request, status, title, str(error))

    return guard


# ---- static files


@lru_cache(64)
def _static(name: str) -> tuple[bytes, str] | None:
    path = HERE / "static" / name
    kind = _STATIC_TYPES.get(path.suffix)
    if not _STATIC_NAME.fullmatch(name) or kind is None or not path.is_file():
        return None
    return path.read_bytes(), kind


@lru_cache(64)
def static_url(name: str) -> str:
    """Return the URL of a static file, with a mark of its content, so that browsers keep it until it changes."""
    found = _static(name)
    if found is None:
        raise errors.NotFoundError(f"there is no static file {name!r}")
    return f"/ui/static/{name}?v={view_text.mark(found[0])}"


async def static(request: Request) -> Response:
    """Answer ``GET /ui/static/{name}``."""
    found = _static(request.path_params["name"])
    if found is None:
        return Response("not found", 404, media_type="text/plain", headers=SECURITY_HEADERS)
    content, kind = found
    keep = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
    return Response(content, headers=SECURITY_HEADERS | {"Content-Type": kind, "Cache-Control": keep})


# ---- forms


def form_token(request: Request) -> str:
    """Return the token of this browser's forms; made anew where its cookie is missing."""
    known = request.cookies.get(TOKEN_COOKIE, "")
    return known if re.fullmatch(r"[A-Za-z0-9_-]{43}", known) else secrets.token_urlsafe(32)


def keep_token(request: Request, answer: Response, token: str) -> Response:
    """Give the browser its token, which no script reads and no other site makes it send."""
    if request.cookies.get(TOKEN_COOKIE) != token:
        answer.set_cookie(TOKEN_COOKIE, token, path="/ui/", httponly=True, samesite="strict", secure=over_tls(request))
    return answer


async def read_form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form that one of the archive's own pages sent, ``None`` for any other.

    Two signs are asked for: the browser says that the request is of the same
    origin (Sec-Fetch-Site, or Origin from one that does not send it), and the
    form repeats the token of the cookie, which another site cannot read.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        return None
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        return None
    if site is None and origin is None:
        return None
    body = b""
    try:
        # Whoever signs in is nobody yet: they are not waited for long.
        async with asyncio.timeout(_FORM_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > _LONGEST_FORM:
                    return None
    except TimeoutError:
        return None
    fields = {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
    token = request.cookies.get(TOKEN_COOKIE, "")
    given = fields.get(TOKEN_FIELD, "")
    if not token or not hmac.compare_digest(token.encode(), given.encode()):
        return None
    return fields
