"""Sessions of the pages: a signed cookie that names a user, for a working day at most.

A session ends with its time, and at once when the user's password, role or
state has changed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from functools import cached_property

from vna.domain.errors import NotFoundError
from vna.ports.objects import ObjectStore
from vna.security.accounts import Accounts, User
from vna.security.principals import Principal

SECONDS = 12 * 3600
_SECRET = "security/session-secret"  # noqa: S105 - a key in the object store


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
        name = base64.urlsafe_b64encode(user.name.encode()).decode().rstrip("=")
        body = f"{name}.{int(self._clock()) + SECONDS}.{user.mark}"
        return f"{body}.{self._sign(body)}"

    def read(self, session: str) -> Principal | None:
        """Return whose session it is, ``None`` for one that is over or was never issued."""
        body, _, signature = session.rpartition(".")
        if not session.isascii() or not hmac.compare_digest(signature, self._sign(body)):
            return None
        name, until, mark = body.split(".")
        if int(until) <= self._clock():
            return None
        try:
            user = self._accounts.user(base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode())
        except NotFoundError:
            return None
        if user.disabled or not hmac.compare_digest(user.mark, mark):
            return None
        return Principal(user.name, user.role, "session", must_change_password=user.must_change)

    def _sign(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()
