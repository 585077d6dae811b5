"""Whose the credentials of a request are: an API key, a name and password, a session of the pages, or a link."""

from __future__ import annotations

import base64
import hashlib
import math
import time
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection

from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.protocol import CERTIFICATE
from vna.security.accounts import KEY_PREFIX
from vna.security.principals import Principal
from vna.security.rates import Rates, whose
from vna.security.throttle import Throttle, TooManyTriesError
from vna.web.shares import SHARE_COOKIE
from vna.web.sign_in import COOKIE

_MOST = 4096
# What is known of credentials holds so long, in seconds: a key that is removed is refused after that at the latest.
_KEY_SECONDS = 15.0
_SESSION_SECONDS = 2.0
_PASSWORD_SECONDS = 60.0
# So many wrong keys and tokens from one address, and so many seconds' worth of them at once.
_WRONG_PER_SECOND, _WRONG_SECONDS = 5.0, 10.0


class WrongCredentialsError(Exception):
    """The credentials are wrong, or of nobody; ``wait`` are the seconds until the next try, 0 for now."""

    def __init__(self, text: str, wait: float = 0) -> None:
        super().__init__(text)
        self.wait = math.ceil(wait)


class Credentials:
    """Finds out whose credentials are; what it found holds for some seconds.

    Parameters
    ----------
    gateway
        The archive, and the threads for what blocks.
    throttle
        Slows down who guesses passwords; shared with the page where people sign in.
    """

    def __init__(self, gateway: Gateway, throttle: Throttle) -> None:
        self._gateway = gateway
        self._throttle = throttle
        self._known: dict[bytes, tuple[float, Principal]] = {}
        # Each wrong key is a look into the object store, which nobody from outside may ask for without end.
        self._strangers = Rates(_WRONG_PER_SECOND, _WRONG_SECONDS)

    async def of(self, connection: HTTPConnection) -> Principal | None:
        """Return whose the credentials are, ``None`` if there are none.

        Raises
        ------
        WrongCredentialsError
            There are some, and they are wrong.
        ArchiveError
            Nobody can tell now.
        """
        scheme, _, value = connection.headers.get("authorization", "").strip().partition(" ")
        value = value.strip()
        address = whose(connection.client.host) if connection.client else ""
        if scheme.lower() == "bearer":
            return await self._bearer(value, address, connection.scope.get("state", {}).get(CERTIFICATE, ""))
        if scheme.lower() == "basic":
            return await self._basic(value, address)
        if scheme:
            raise WrongCredentialsError(f"credentials of the scheme {scheme[:20]!r} are not understood")
        # A session or link that is over is no error: whoever comes with it is asked to sign in.
        archive = self._gateway.archive
        session = connection.cookies.get(COOKIE, "")
        if session:
            found = await self._look_up(f"session {session}", _SESSION_SECONDS, lambda: archive.sessions.read(session))
            if found is not None:
                return found
        token = connection.cookies.get(SHARE_COOKIE, "")
        return await self._linked(token, address) if token else None

    async def _linked(self, token: str, address: str) -> Principal | None:
        secret = f"share {token}"
        if self._strangers.wait(address) and self._held(_digest(secret)) is None:
            return None
        found = await self._look_up(secret, _SESSION_SECONDS, lambda: self._shared(token))
        if found is None:
            self._strangers.take(address)
        return found

    def _shared(self, token: str) -> Principal | None:
        share = self._gateway.archive.shares.check(token)
        return share.principal if share is not None else None

    async def _bearer(self, token: str, address: str, certificate: str) -> Principal:
        archive = self._gateway.archive
        # What holds for a key that came with a certificate does not for the key alone.
        secret = f"bearer {certificate} {token}"
        wait = self._strangers.wait(address)
        if wait and self._held(_digest(secret)) is None:
            raise WrongCredentialsError("too many wrong API keys or tokens; try again later", wait)
        if not token.startswith(KEY_PREFIX) and archive.oidc is not None:
            found = await self._look_up(secret, _KEY_SECONDS, lambda: self._vouched(token))
        else:
            found = await self._look_up(secret, _KEY_SECONDS, lambda: archive.accounts.check_key(token, certificate))
        if found is None:
            self._strangers.take(address)
            raise WrongCredentialsError("the API key or token is not known, or has ended")
        return found

    def _vouched(self, token: str) -> Principal | None:
        provider = self._gateway.archive.oidc
        identity = provider.check_token(token) if provider is not None else None
        if identity is None:
            return None
        return Principal(identity.name, identity.role, "token", limits=identity.limits)

    async def _basic(self, value: str, address: str) -> Principal:
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            colon = name = password = ""
        if not colon:
            raise WrongCredentialsError("the credentials are no name and password (RFC 7617)")
        secret = f"basic {value}"

        def check() -> Principal | None:
            user = self._gateway.archive.accounts.sign_in(name, password)
            if user is None:
                return None
            changing = user.must_change
            return Principal(user.name, user.role, "password", must_change_password=changing, limits=user.limits)

        def look() -> Awaitable[Principal | None]:
            return self._look_up(secret, _PASSWORD_SECONDS, check)

        try:
            found = await self._throttle.tried(name, address, look, known=self._held(_digest(secret)) is not None)
        except TooManyTriesError as error:
            raise WrongCredentialsError(str(error), error.wait) from error
        if found is None:
            raise WrongCredentialsError("the name or the password is wrong")
        return found

    async def _look_up(self, secret: str, seconds: float, find: Callable[[], Principal | None]) -> Principal | None:
        key = _digest(secret)
        held = self._held(key)
        if held is not None:
            return held
        now = time.monotonic()
        found = await self._gateway.in_thread(find)
        if found is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (now + seconds, found)
        else:
            self._known.pop(key, None)
        return found

    def _held(self, key: bytes) -> Principal | None:
        known = self._known.get(key)
        return known[1] if known is not None and known[0] > time.monotonic() else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
