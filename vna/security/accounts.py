"""Users and API keys, kept as small documents in the object store, so that every gateway knows the same."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import orjson

from vna.domain.errors import ConflictError, IntegrityError, InvalidInputError, NotFoundError
from vna.ports.objects import ObjectStore
from vna.security import passwords
from vna.security.limits import NO_LIMITS, Limits
from vna.security.principals import Principal, Role

_USERS = "security/users/"
_KEYS = "security/keys/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
KEY_PREFIX = "vna_"
_TOKEN = re.compile(r"vna_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class User:
    """A person with a password.

    Attributes
    ----------
    name
        What they sign in with, lower case.
    role
        What they may do.
    password
        Digest of it.
    must_change
        Whether the password was given to them, and they have to choose one.
    disabled
        Whether they may sign in no more.
    limits
        What an instance must have to be there for them at all.
    """

    name: str
    role: Role
    password: str
    must_change: bool = False
    disabled: bool = False
    limits: Limits = NO_LIMITS

    @property
    def mark(self) -> str:
        """What a session stands and falls with: another one when password, role, limits or state have changed."""
        text = "\0".join((self.password, self.role, str(self.disabled), *(self.limits.texts if self.limits else ())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A machine's credentials.

    Attributes
    ----------
    id
        Sixteen hex digits, part of the token.
    name, role, limits
        As of a user.
    secret
        SHA-256 of the secret part (256 random bits), in hex digits.
    expires
        When it ends, seconds since 1970 UTC; 0 for never.
    certificate
        SHA-256 of the client certificate that it must come with, in hex digits; empty for any, or none.
    """

    id: str
    name: str
    role: Role
    secret: str
    expires: int = 0
    limits: Limits = NO_LIMITS
    certificate: str = ""


class Accounts:
    """The users and keys of an archive.

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

    # Users.

    def add_user(self, name: str, role: Role, password: str = "", limits: Limits = NO_LIMITS) -> str:
        """Add a user; return the password, which is a one-time one if none was given.

        Raises ``ConflictError`` if there is one of this name, ``InvalidInputError`` for a name or a password that
        cannot be one.
        """
        name = _checked(name)
        given = password or passwords.one_time()
        if password:
            passwords.check_new(password, name)
        user = User(name, role, passwords.digest(given), must_change=not password, limits=limits)
        if not self._objects.put(_user_key(name), _dump(user), "application/json"):
            raise ConflictError(f"there is a user {name} already")
        return given

    def user(self, name: str) -> User:
        """Return a user; raises ``NotFoundError``."""
        try:
            return _user(self._objects.get(_user_key(name.lower())))
        except NotFoundError:
            raise NotFoundError(f"there is no user {name}") from None

    def users(self) -> Iterator[User]:
        """Yield the users, in no order."""
        for _key, data in self._objects.get_many([info.key for info in self._objects.list(_USERS)]):
            if data is not None:
                yield _user(data)

    def change_password(self, name: str, password: str) -> None:
        """Set the password that a user has chosen."""
        user = self.user(name)
        passwords.check_new(password, user.name)
        if passwords.matches(password, user.password):
            raise InvalidInputError("this is the password that it was before")
        self._save(replace(user, password=passwords.digest(password), must_change=False))

    def reset_password(self, name: str) -> str:
        """Give a user a new one-time password, and return it; what sessions there are end."""
        user, given = self.user(name), passwords.one_time()
        self._save(replace(user, password=passwords.digest(given), must_change=True, disabled=False))
        return given

    def set_role(self, name: str, role: Role) -> None:
        """Give a user another role; what sessions there are end. Not to the last administrator (``ConflictError``)."""
        user = self.user(name)
        if role is not Role.ADMINISTRATOR:
            self._need_another(user)
        self._save(replace(user, role=role))

    def set_limits(self, name: str, limits: Limits) -> None:
        """Give a user other limits, or none; what sessions there are end."""
        self._save(replace(self.user(name), limits=limits))

    def disable(self, name: str) -> None:
        """Have a user sign in no more. The name stays: the audit trail speaks of it.

        Raises ``ConflictError`` for the last administrator.
        """
        user = self.user(name)
        self._need_another(user)
        self._save(replace(user, disabled=True))

    def sign_in(self, name: str, password: str) -> User | None:
        """Return the user if name and password are right. Takes as long for a name that there is not."""
        try:
            user = self.user(name)
        except NotFoundError:
            passwords.matches(password, _nobody())
            return None
        right = passwords.matches(password, user.password)
        return user if right and not user.disabled else None

    def first_administrator(self) -> str:
        """Make the user ``admin`` if there is no user at all; return its one-time password, empty if there is one."""
        if next(iter(self._objects.list(_USERS)), None) is not None:
            return ""
        try:
            return self.add_user("admin", Role.ADMINISTRATOR)
        except ConflictError:  # another process of this archive was faster
            return ""

    def _need_another(self, user: User) -> None:
        """Raise ``ConflictError`` if nobody else who may sign in is an administrator."""
        if user.role is not Role.ADMINISTRATOR or user.disabled:
            return
        others = (each for each in self.users() if each.name != user.name and not each.disabled)
        if not any(each.role is Role.ADMINISTRATOR for each in others):
            raise ConflictError(f"{user.name} is the last administrator; make another one first")

    def _save(self, user: User) -> None:
        self._objects.replace(_user_key(user.name), _dump(user))

    # Keys.

    def add_key(self, name: str, role: Role, days: int = 0, limits: Limits = NO_LIMITS, certificate: str = "") -> str:
        """Add an API key; return the token, which is told this once and not kept."""
        name = _checked(name)
        identity, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        expires = int(self._clock()) + days * 86_400 if days else 0
        key = ApiKey(identity, name, role, hashlib.sha256(secret.encode()).hexdigest(), expires, limits, certificate)
        self._objects.put(_api_key(identity), _dump(key), "application/json")
        return f"{KEY_PREFIX}{identity}_{secret}"

    def keys(self) -> Iterator[ApiKey]:
        """Yield the keys, in no order."""
        for _key, data in self._objects.get_many([info.key for info in self._objects.list(_KEYS)]):
            if data is not None:
                yield _key_of(data)

    def remove_key(self, identity: str) -> None:
        """End a key; raises ``NotFoundError``."""
        if not re.fullmatch(r"[0-9a-f]{16}", identity) or self._objects.head(_api_key(identity)) is None:
            raise NotFoundError(f"there is no API key {identity}")
        self._objects.delete(_api_key(identity))

    def check_key(self, token: str, certificate: str = "") -> Principal | None:
        """Return who a token stands for that came with a client certificate or none, ``None`` if for nobody."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        try:
            key = _key_of(self._objects.get(_api_key(found[1])))
        except NotFoundError:
            return None
        right = hmac.compare_digest(hashlib.sha256(found[2].encode()).hexdigest(), key.secret)
        bound = not key.certificate or hmac.compare_digest(key.certificate, certificate)
        if not right or not bound or (key.expires and key.expires <= self._clock()):
            return None
        return Principal(key.name, key.role, "key", limits=key.limits)


@cache
def _nobody() -> str:
    """Return a digest that no password has; made when it is first needed, since to make one takes time on purpose."""
    return passwords.digest(secrets.token_hex(16))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError("a name has 1 to 64 letters, digits and . _ @ - and begins with a letter or digit")
    return name.lower()


def _user_key(name: str) -> str:
    return f"{_USERS}{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"


def _api_key(identity: str) -> str:
    return f"{_KEYS}{identity}.json"


def _dump(document: User | ApiKey) -> bytes:
    content = asdict(document)
    content["limits"] = document.limits.texts
    return orjson.dumps(content)


def _load(data: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = orjson.loads(data)
        content["role"] = Role(content["role"])
        content["limits"] = Limits.parse(content.get("limits", ()))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidInputError) as error:
        raise IntegrityError(f"a document of an account cannot be read: {error}") from error
    return content


def _user(data: bytes) -> User:
    try:
        return User(**_load(data))
    except TypeError as error:
        raise IntegrityError(f"a user's document cannot be read: {error}") from error


def _key_of(data: bytes) -> ApiKey:
    try:
        return ApiKey(**_load(data))
    except TypeError as error:
        raise IntegrityError(f"an API key's document cannot be read: {error}") from error
