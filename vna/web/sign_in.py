"""Signing in and out, and choosing a password."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vna.domain.audit import Participant
from vna.domain.errors import InvalidInputError
from vna.security.accounts import User
from vna.security.audit_events import authentication
from vna.security.principals import Principal
from vna.security.rates import whose
from vna.security.sessions import SECONDS
from vna.security.throttle import Throttle, TooManyTriesError
from vna.web.pages_http import (
    Handler,
    Site,
    address_of,
    form_token,
    guarded,
    keep_token,
    over_tls,
    page,
    page_route,
    problem,
    read_form,
)

COOKIE = "vna-session"
_HOME = "/ui/"

log = logging.getLogger(__name__)


def routes(site: Site, throttle: Throttle) -> list[Route]:
    """Return the routes of these pages; ``throttle`` slows down who guesses."""

    async def show_sign_in(site: Site, request: Request) -> Response:
        return form(site, request, target=own_path(request.query_params.get("next", "")))

    async def sign_in(site: Site, request: Request) -> Response:
        fields = await read_form(request)
        if fields is None:
            return problem(request, 403, "Not from here", "This form was not sent by a page of the archive.")
        name, password = fields.get("name", "").strip(), fields.get("password", "")
        target = own_path(fields.get("next", ""))
        try:
            user = await _tried(site, throttle, request, name, password)
        except TooManyTriesError as error:
            return form(site, request, 429, target=target, name=name, error=_too_many(error))
        if user is None:
            tell(site, request, name, succeeded=False)
            log.warning("sign-in of %r from %s refused", name[:64], address_of(request))
            text = "The name or the password is wrong."
            return form(site, request, 401, target=target, name=name, error=text)
        tell(site, request, name)
        return await _signed_in(site, request, user, "/ui/password" if user.must_change else target)

    async def sign_out(site: Site, request: Request) -> Response:
        if await read_form(request) is None:
            return problem(request, 403, "Not from here", "This form was not sent by a page of the archive.")
        principal = getattr(request.state, "principal", None)
        if principal is not None:
            tell(site, request, principal.name, login=False)
        await site.in_thread(site.archive.sessions.end, request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/ui/sign-in", 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    async def show_password(site: Site, request: Request) -> Response:
        del site
        return _form(request, "password.html", given=_principal(request).must_change_password)

    async def change_password(site: Site, request: Request) -> Response:
        fields = await read_form(request)
        principal = _principal(request)
        if fields is None or principal.means != "session":
            return problem(request, 403, "Not from here", "Sign in, and send this form from the archive's own page.")
        old, new, again = (fields.get(field, "") for field in ("old", "new", "again"))
        given = principal.must_change_password
        if new != again:
            return _form(request, "password.html", 400, given=given, error="The two new passwords differ.")
        try:
            known = await _tried(site, throttle, request, principal.name, old)
        except TooManyTriesError as error:
            return _form(request, "password.html", 429, given=given, error=_too_many(error))
        if known is None:
            return _form(request, "password.html", 401, given=given, error="The old password is wrong.")
        try:
            await site.in_thread(site.archive.accounts.change_password, principal.name, new)
        except InvalidInputError as error:
            text = f"{str(error)[0].upper()}{str(error)[1:]}."
            return _form(request, "password.html", 400, given=given, error=text)
        user = await site.in_thread(site.archive.accounts.user, principal.name)
        return await _signed_in(site, request, user, _HOME)

    table: tuple[tuple[str, str, str, Handler], ...] = (
        ("GET", "/ui/sign-in", "page-sign-in", show_sign_in),
        ("POST", "/ui/sign-in", "page-sign-in", sign_in),
        ("POST", "/ui/sign-out", "page-sign-out", sign_out),
        ("GET", "/ui/password", "page-password", show_password),
        ("POST", "/ui/password", "page-password", change_password),
    )
    return [page_route(site, method, path, name, guarded(handler)) for method, path, name, handler in table]


async def _tried(site: Site, throttle: Throttle, request: Request, name: str, password: str) -> User | None:
    """Return the user whose name and password are right; raises ``TooManyTriesError``."""
    address = whose(address_of(request))
    return await throttle.tried(name, address, lambda: site.in_thread(site.archive.accounts.sign_in, name, password))


def _too_many(error: TooManyTriesError) -> str:
    minutes = "a minute" if error.wait <= 60 else f"{error.wait / 60:.0f} minutes"
    return f"Too many wrong passwords. Try again in {minutes}."


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


def tell(site: Site, request: Request, name: str, *, login: bool = True, succeeded: bool = True) -> None:
    """Tell the audit trail of a sign-in, of one that failed, or of a sign-out."""
    who = Participant(name[:64], requestor=True, address=address_of(request))
    archive = site.archive
    archive.audit.record(authentication(who, archive.process, login=login, succeeded=succeeded))


def form(site: Site, request: Request, status: int = 200, *, target: str, **context: object) -> Response:
    """Return the page to sign in; ``target`` is where to go then."""
    provider = bool(site.archive.settings.oidc.issuer)
    return _form(request, "sign_in.html", status, next=target, provider=provider, **context)


def _form(request: Request, template: str, status: int = 200, **context: object) -> Response:
    token = form_token(request)
    return keep_token(request, page(request, template, status, token=token, **context), token)


async def _signed_in(site: Site, request: Request, user: User, target: str) -> Response:
    session = await site.in_thread(site.archive.sessions.issue, user)
    return with_session(request, session, target)


def with_session(request: Request, session: str, target: str) -> Response:
    """Send a browser on with a session."""
    answer = RedirectResponse(target, 303)
    secure = over_tls(request)
    answer.set_cookie(COOKIE, session, max_age=SECONDS, path="/", httponly=True, samesite="lax", secure=secure)
    return answer


def own_path(asked: str) -> str:
    """Return where to go after signing in: a path of this archive, never another site."""
    parts = urlsplit(asked)
    own = asked.startswith("/") and not asked.startswith(("//", "/\\")) and not parts.netloc and asked.isprintable()
    return asked if own and "\\" not in asked else _HOME
