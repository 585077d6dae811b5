"""Links to one study for somebody without an account: for a time, revocable, pictures alone if asked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import orjson

from vna.domain.errors import IntegrityError, InvalidInputError, NotFoundError
from vna.ports.objects import ObjectStore
from vna.security.limits import NO_LIMITS, Limits
from vna.security.principals import Principal, Role, Scope

_SHARES = "security/shares/"
_TOKEN = re.compile(r"([0-9a-f]{16})-([A-Za-z0-9_-]{43})")
LONGEST_DAYS = 365
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Share:
    """A link to a study.

    Attributes
    ----------
    id
        Sixteen hex digits, part of the link.
    study
        Study Instance UID.
    secret
        SHA-256 of the secret part (256 random bits), in hex digits.
    created, expires
        Seconds since 1970 UTC.
    by
        Who made it.
    note
        For whom, in the words of who made it.
    hide_patient
        Whether it shows pictures alone, without the patient's details.
    limits
        Those of who made it: nobody shows to others what is not there for themselves.
    """

    id: str
    study: str
    secret: str
    created: int
    expires: int
    by: str
    note: str = ""
    hide_patient: bool = False
    limits: Limits = NO_LIMITS

    @property
    def principal(self) -> Principal:
        """Who comes by the link."""
        scope = Scope(self.study, self.hide_patient)
        return Principal(f"share-{self.id}", Role.VIEWER, "share", scope=scope, limits=self.limits)


class Shares:
    """The links of an archive.

    Parameters
    ----------
    objects
        Where they are kept.
    clock
        Returns the time, seconds since 1970 UTC.
    """

    def __init__(self, objects: ObjectStore, clock: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._clock = clock

    def add(
        self,
        study: str,
        by: str,
        *,
        days: int = 7,
        note: str = "",
        hide_patient: bool = False,
        limits: Limits = NO_LIMITS,
    ) -> tuple[Share, str]:
        """Make a link; return it, and the token that opens it, which is told this once and not kept.

        Raises ``InvalidInputError`` for a time that is too long or none.
        """
        if not 1 <= days <= LONGEST_DAYS:
            raise InvalidInputError(f"a study is shared for 1 to {LONGEST_DAYS} days")
        now = int(self._clock())
        secret = secrets.token_urlsafe(32)
        share = Share(
            secrets.token_hex(8), study, _digest(secret), now, now + days * _DAY, by, note[:200], hide_patient, limits
        )
        content = asdict(share) | {"limits": limits.texts}
        self._objects.put(_key(share.id), orjson.dumps(content), "application/json")
        return share, f"{share.id}-{secret}"

    def list(self, study: str = "") -> Iterator[Share]:
        """Yield the links, or those to one study, in no order; ended ones too."""
        for _name, data in self._objects.get_many([info.key for info in self._objects.list(_SHARES)]):
            if data is not None and (not study or _parse(data).study == study):
                yield _parse(data)

    def get(self, identity: str) -> Share:
        """Return a link; raises ``NotFoundError``."""
        if not re.fullmatch(r"[0-9a-f]{16}", identity):
            raise NotFoundError(f"nothing is shared as {identity}")
        try:
            return _parse(self._objects.get(_key(identity)))
        except NotFoundError:
            raise NotFoundError(f"nothing is shared as {identity}") from None

    def remove(self, identity: str) -> Share:
        """Revoke a link and return it; raises ``NotFoundError``."""
        share = self.get(identity)
        self._objects.delete(_key(identity))
        return share

    def check(self, token: str) -> Share | None:
        """Return the link that a token opens, ``None`` for none: revoked, over, or never made."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        try:
            share = _parse(self._objects.get(_key(found[1])))
        except NotFoundError:
            return None
        right = hmac.compare_digest(_digest(found[2]), share.secret)
        return share if right and share.expires > self._clock() else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(identity: str) -> str:
    return f"{_SHARES}{identity}.json"


def _parse(data: bytes) -> Share:
    try:
        content = orjson.loads(data)
        return Share(**(content | {"limits": Limits.parse(content.get("limits", ()))}))
    except (ValueError, TypeError, AttributeError, InvalidInputError) as error:
        raise IntegrityError(f"the document of a shared study cannot be read: {error}") from error
