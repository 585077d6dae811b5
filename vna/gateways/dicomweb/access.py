"""Who may do what over HTTP: credentials first, then what is allowed without, by default nothing."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vna.config import HttpSettings
from vna.domain.errors import ArchiveError
from vna.gateways.dicomweb.anonymous import Anonymous
from vna.gateways.dicomweb.credentials import Credentials, WrongCredentialsError
from vna.gateways.dicomweb.errors import archive_error, error_response
from vna.gateways.dicomweb.links import BASE
from vna.gateways.dicomweb.rates import RateLimits
from vna.gateways.dicomweb.shared import within
from vna.security.principals import Permission, Principal, Role, roles_with
from vna.web.pages_http import problem

OPEN_PATHS = frozenset({"/health", "/ready", "/ui/sign-in"})
"""Answered to everybody: a load balancer asks there, and they tell nothing of patients."""
BY_VIEW = tuple(f"{BASE}/{resource}" for resource in ("studies", "series", "instances", "wado"))
_OPEN_BELOW = ("/ui/static/", "/ui/open/", "/ui/sign-in/")
_OWN_PATHS = frozenset({"/ui/password", "/ui/sign-out"})
_PAGES = ("/ui", "/ohif")
_WORKLIST = (f"{BASE}/workitems", f"{BASE}/subscribers/")
# Read by a view, which may be de-identified: all that shows patients otherwise is not among them.
_BY_VIEW = frozenset({"/", "/ui", "/ui/", "/ui/facets", "/ui/viewer", "/ohif", *BY_VIEW})
_BY_VIEW_BELOW = ("/ui/studies/", "/ui/instances/", "/ohif/", *(f"{path}/" for path in BY_VIEW))
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What a browser adds to a request by itself, whichever page makes it.
_OF_A_BROWSER = frozenset({"session", "password", "network"})
# The router takes a path with a line feed behind it for the one without: no rule here may see another path than it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="archive", Basic realm="archive", charset="UTF-8"'}


class AccessControl:
    """Refuses what the configuration does not allow, before anything is read.

    The principal is told to handlers in ``request.state.principal``.

    Parameters
    ----------
    app
        What answers those who may.
    settings
        The gateway's settings.
    credentials
        Finds out whose the credentials of a request are.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings, credentials: Credentials) -> None:
        self._app = app
        self._anonymous = Anonymous(settings)
        self._credentials = credentials
        self._rates = RateLimits(settings.rates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        if _CONTROL.search(scope["path"]):
            await error_response(404, "not-found", "no path has control characters")(scope, receive, send)
            return
        if self._is_open(scope["path"]):
            await (self._rates.refusal(scope) or self._app)(scope, receive, send)
            return
        refusal = await self._refusal(scope)

        async def kept_private(message: Message) -> None:
            # What one is told is not for another: no cache between keeps it, nor a browser for who signs in next.
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "private, no-cache"
                    headers.add_vary_header("Authorization, Cookie")
            await send(message)

        await (self._rates.refusal(scope) or refusal or self._app)(scope, receive, kept_private)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in OPEN_PATHS or path.startswith(_OPEN_BELOW)

    async def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer that refuses a request, ``None`` for one that may pass."""
        connection = HTTPConnection(scope)
        try:
            principal = await self._credentials.of(connection)
        except WrongCredentialsError as error:
            headers = _CHALLENGE | ({"Retry-After": str(error.wait)} if error.wait else {})
            return error_response(429 if error.wait else 401, "credentials", str(error), headers)
        except ArchiveError as error:
            return archive_error(connection, error)  # type: ignore[arg-type]  # it looks at the error alone
        if principal is None:
            reason = self._anonymous.refusal(scope)
            if reason:
                return _unknown(scope, connection, reason)
            principal = Principal("anonymous", Role.ADMINISTRATOR, "network")
        scope.setdefault("state", {})["principal"] = principal
        scope["user"] = principal.name  # the audit trail tells it
        return self._forbidden(scope, connection, principal)

    @staticmethod
    def _forbidden(scope: Scope, connection: HTTPConnection, principal: Principal) -> Response | None:
        path, method = scope["path"], scope.get("method", "GET")
        # A WebSocket is no subject of the browser's rules for other sites, whatever credentials it adds.
        channel = scope["type"] == "websocket"
        by_browser = method not in _SAFE and principal.means in _OF_A_BROWSER
        if (channel or by_browser) and _cross_site(connection):
            return error_response(403, "cross-site", "a page of another site must not change anything here")
        if principal.scope is not None:
            if method in _SAFE and within(principal.scope, path, connection.query_params):
                return None
            return error_response(403, "forbidden", "this link opens one study, and nothing else")
        if path in _OWN_PATHS:
            return None
        if principal.must_change_password and _is_page(path):
            return RedirectResponse("/ui/password", 303)
        needed = _needed(path, method)
        if principal.may(needed):
            return None
        if needed is Permission.READ and principal.may(Permission.READ_DEIDENTIFIED) and _is_by_view(path, method):
            return None
        reason = _why_not(principal, needed)
        if _is_for_a_person(scope, connection):
            return problem(Request(scope), 403, "This is not for you", f"{reason[0].upper()}{reason[1:]}.")
        return error_response(403, "forbidden", reason)


def _why_not(principal: Principal, needed: Permission) -> str:
    if principal.must_change_password:
        return "the one-time password must be changed first"
    roles = " and ".join(roles_with(needed))
    who = f"{principal.name} ({principal.role}{', with limits' if principal.limits else ''})"
    return f"{who} may not {needed}: that is for {roles}{' without limits' if principal.limits else ''}"


def _unknown(scope: Scope, connection: HTTPConnection, reason: str) -> Response:
    """Answer a request that came without credentials: a person is sent to sign in."""
    if _is_for_a_person(scope, connection):
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        return RedirectResponse(f"/ui/sign-in?next={quote(scope['path'] + query, safe='')}", 303)
    hint = "send an API key (vna key add NAME --role viewer), or sign in; VNA_HTTP__ALLOW_ANONYMOUS can allow more"
    return error_response(401, "unauthorised", f"{reason}; {hint}", _CHALLENGE)


def _is_for_a_person(scope: Scope, connection: HTTPConnection) -> bool:
    page = scope["path"] == "/" or _is_page(scope["path"])
    return page and scope.get("method") == "GET" and "text/html" in connection.headers.get("accept", "")


def _is_page(path: str) -> bool:
    return any(path == page or path.startswith(f"{page}/") for page in _PAGES)


def _is_by_view(path: str, method: str) -> bool:
    return method == "OPTIONS" or (method in _SAFE and (path in _BY_VIEW or path.startswith(_BY_VIEW_BELOW)))


def _needed(path: str, method: str) -> Permission:
    if path.startswith("/ui/operations"):
        return Permission.OBSERVE if method in _SAFE else Permission.OPERATE
    if path.startswith("/ui/audit"):
        return Permission.AUDIT
    if path.startswith("/metrics"):
        return Permission.OBSERVE
    if path.startswith(_WORKLIST):
        return Permission.WORKLIST
    if method == "DELETE" and path.startswith(BASE):
        return Permission.DELETE
    # Whoever may see a study may show it to somebody.
    return Permission.READ if method in _SAFE or path.startswith("/ui/shares") else Permission.STORE


def _cross_site(connection: HTTPConnection) -> bool:
    """Say whether a browser tells that another site's page makes the request (Fetch Metadata; RFC 6454 Origin)."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = connection.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != connection.headers.get("host", "")
