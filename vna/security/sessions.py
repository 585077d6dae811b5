"""Sessions of the pages: a signed cookie that names a user, for a working day at most.

A session ends with its time, when its user signs out, and at once when the
user's password, role or state has changed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from functools import cached_property

from vna.domain.errors import ConfigurationError, NotFoundError
from vna.ports.objects import ObjectStore
from vna.security.accounts import Accounts, User
from vna.security.limits import NO_LIMITS, Limits
from vna.security.principals import Principal, Role

SECONDS = 12 * 3600
EXTERNAL_SECONDS = 3600
"""Of a session that the provider vouches for: who may no longer sign in there is out after an hour."""
_EXTERNAL, _LIMITS, _SEAL = "as-", "~", "seal"
# A browser keeps cookies of up to 4096 bytes.
_LONGEST_MARK = 3000
_SECRET = "security/session-secret"  # noqa: S105 - a key in the object store
_ENDED = "security/sessions-ended/"


class Sessions:
    """Issues and reads sessions.

    Parameters
    ----------
    objects
        Where the secret is kept that signs them.
    accounts
        The users.
    clock
        Returns the time, seconds since 1970 UTC.
    """

    def __init__(self, objects: ObjectStore, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._accounts = accounts
        self._clock = clock

    @cached_property
    def _secret(self) -> bytes:
        self._objects.put(_SECRET, secrets.token_bytes(32))
        return self._objects.get(_SECRET)

    def issue(self, user: User) -> str:
        """Return a session for a user who has just signed in."""
        body = f"{_encode(user.name)}.{int(self._clock()) + SECONDS}.{user.mark}"
        return f"{body}.{self._sign(body)}"

    def issue_external(self, name: str, role: Role, limits: Limits = NO_LIMITS) -> str:
        """Return a session for somebody whom an identity provider has named; it ends with its time alone."""
        mark = f"{_EXTERNAL}{role}{_LIMITS}{_encode(chr(0).join(limits.texts))}"
        if len(mark) > _LONGEST_MARK:
            raise ConfigurationError("the limits of this user are too long for a session; shorten VNA_OIDC__LIMITS")
        body = f"{_encode(name)}.{int(self._clock()) + EXTERNAL_SECONDS}.{mark}"
        return f"{body}.{self._sign(body)}"

    def seal(self, text: str, seconds: int) -> str:
        """Return a text that :meth:`unseal` knows again for some seconds, to be kept by a browser."""
        body = f"{_encode(text)}.{int(self._clock()) + seconds}.{_SEAL}"
        return f"{body}.{self._sign(body)}"

    def unseal(self, sealed: str) -> str | None:
        """Return a text that was sealed, ``None`` for one that was not, or too long ago."""
        parts = self._parts(sealed)
        return parts[0] if parts is not None and parts[1] == _SEAL else None

    def _parts(self, signed: str) -> tuple[str, str] | None:
        body, _, signature = signed.rpartition(".")
        if not signed.isascii() or not hmac.compare_digest(signature, self._sign(body)):
            return None
        name, until, mark = body.split(".")
        if int(until) <= self._clock():
            return None
        return _decode(name), mark

    def read(self, session: str) -> Principal | None:
        """Return whose session it is, ``None`` for one that is over or was never issued."""
        parts = self._parts(session)
        if parts is None or parts[1] == _SEAL:
            return None
        if self._objects.head(_ended_key(session)) is not None:
            return None
        name, mark = parts
        if mark.startswith(_EXTERNAL):
            role, told, limits = mark.removeprefix(_EXTERNAL).partition(_LIMITS)
            if not told:  # of a version that knew no limits: whoever it is signs in again
                return None
            texts = filter(None, _decode(limits).split("\0"))
            return Principal(name, Role(role), "session", limits=Limits.parse(texts))
        try:
            user = self._accounts.user(name)
        except NotFoundError:
            return None
        if user.disabled or not hmac.compare_digest(user.mark, mark):
            return None
        return Principal(user.name, user.role, "session", must_change_password=user.must_change, limits=user.limits)

    def end(self, session: str) -> None:
        """Have a session be over before its time, whoever has a copy of it; one that is none is let be."""
        parts = self._parts(session)
        if parts is None or parts[1] == _SEAL:
            return
        self._objects.put(_ended_key(session), b"")
        for info in self._objects.list(_ENDED):
            until = int(info.key.removeprefix(_ENDED).partition("-")[0])
            if until > self._clock():
                break
            self._objects.delete(info.key)  # over by its time, too

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()


def _ended_key(session: str) -> str:
    """Return where it is written that a session is over; keys come in the order of the sessions' ends."""
    until = int(session.split(".")[1])
    return f"{_ENDED}{until:012d}-{hashlib.sha256(session.encode()).hexdigest()[:32]}"


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode().rstrip("=")


def _decode(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
