"""An OpenID provider: sign-in by authorization code with PKCE (OpenID Connect Core 3.1, RFC 7636); bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from dataclasses import dataclass
from functools import reduce
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import orjson
import urllib3

from vna.config import OidcSettings
from vna.domain.errors import ConfigurationError, InvalidInputError, UnavailableError
from vna.security.limits import NO_LIMITS, Limits
from vna.security.principals import Role

# None that a public key can be abused for as a shared secret, and not "none".
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_TIMEOUT = urllib3.Timeout(connect=5, read=10)
_LEEWAY = 30
_KEYS_SECONDS = 3600.0
# An unknown key is asked for anew, but not more often: anybody can name one.
_AGAIN_SECONDS = 10.0
_LARGEST = 1 << 20
_ORDER = (Role.ADMINISTRATOR, Role.RECORDS_MANAGER, Role.TECHNOLOGIST, Role.VIEWER, Role.RESEARCHER)


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the provider has named, and what they may do here."""

    name: str
    role: Role
    limits: Limits = NO_LIMITS


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


class OpenIdProvider:
    """The provider that the settings name. Asked for its configuration when it is first needed. Thread safe.

    Every call that asks it raises ``UnavailableError`` if it does not answer,
    and ``ConfigurationError`` if it answers what no provider should.
    """

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}
        self._keys: dict[str, jwt.PyJWK] = {}
        self._keys_at = self._failed_until = 0.0

    def authorize_url(self, redirect: str, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to sign in."""
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect,
            "scope": self._settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        endpoint = self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def redeem(self, code: str, redirect: str, nonce: str, verifier: str) -> Identity | None:
        """Return who signed in; ``None`` if they have no role here.

        Raises ``InvalidInputError`` if the provider does not take the code, or its ID token is not for this sign-in.
        """
        settings = self._settings
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
            "client_id": settings.client_id,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if settings.client_secret is not None:
            # Both are form-encoded first (RFC 6749 2.3.1).
            pair = f"{quote(settings.client_id, safe='')}:{quote(settings.client_secret.get_secret_value(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        answer = self._ask("POST", self._endpoint("token_endpoint"), headers, urlencode(fields))
        token = answer.get("id_token")
        claims = self._claims(token, settings.client_id) if isinstance(token, str) else None
        if claims is None or claims.get("nonce") != nonce:
            raise InvalidInputError("the provider's ID token is not valid for this sign-in")
        return self._identity(claims)

    def check_token(self, token: str) -> Identity | None:
        """Return whose a bearer token is (RFC 9068), ``None`` if it is not valid here or gives no role."""
        if not self._settings.audience or token.count(".") != 2:
            return None
        claims = self._claims(token, self._settings.audience)
        return self._identity(claims) if claims is not None else None

    def _identity(self, claims: dict[str, Any]) -> Identity | None:
        settings = self._settings
        name = claims.get(settings.name_claim) or claims.get("sub")
        values = claims.get(settings.role_claim)
        given = [value for value in (values if isinstance(values, list) else [values]) if isinstance(value, str)]
        found = {Role(settings.roles[value]) for value in given if value in settings.roles}
        role = next((one for one in _ORDER if one in found), None)
        if not name or role is None:
            return None
        return Identity(str(name)[:128], role, self._limits(given))

    def _limits(self, given: list[str]) -> Limits:
        """Return the limits of somebody with some values: what any value that limits lets see.

        Raises ``ConfigurationError`` where that cannot be said: rather nobody is let in than shown too much.
        """
        limited = [value for value in dict.fromkeys(given) if value in self._settings.limits]
        try:
            each = [Limits.parse(self._settings.limits[value]) for value in limited]
            return reduce(Limits.joined, each) if each else NO_LIMITS
        except InvalidInputError as error:
            raise ConfigurationError(f"VNA_OIDC__LIMITS of {', '.join(limited)}: {error}") from error

    def _claims(self, token: str, audience: str) -> dict[str, Any] | None:
        try:
            key = self._key(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[name for name in _ALGORITHMS if name == key.algorithm_name],
                audience=audience,
                issuer=self._settings.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        return claims

    def _key(self, name: str) -> jwt.PyJWK | None:
        with self._lock:
            age = time.monotonic() - self._keys_at if self._keys_at else float("inf")
            if age > _KEYS_SECONDS or (name not in self._keys and age > _AGAIN_SECONDS):
                if time.monotonic() < self._failed_until:
                    # Anybody may send a token: none of them waits for a provider that has just not answered.
                    raise UnavailableError(f"the OpenID provider {self._settings.issuer} does not answer")
                self._failed_until = time.monotonic() + _AGAIN_SECONDS
                found = self._ask("GET", self._endpoint_unlocked("jwks_uri")).get("keys")
                self._keys = dict(_usable(found if isinstance(found, list) else []))
                self._keys_at, self._failed_until = time.monotonic(), 0.0
            if not name and len(self._keys) == 1:
                return next(iter(self._keys.values()))
            return self._keys.get(name)

    def _endpoint(self, name: str) -> str:
        with self._lock:
            return self._endpoint_unlocked(name)

    def _endpoint_unlocked(self, name: str) -> str:
        issuer = self._settings.issuer
        if not self._known:
            found = self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != issuer:
                raise ConfigurationError(f"VNA_OIDC__ISSUER is {issuer}, but the provider is {found.get('issuer')!r}")
            self._known = found
        endpoint = self._known.get(name)
        if not isinstance(endpoint, str):
            raise ConfigurationError(f"the OpenID provider {issuer} tells no {name}")
        return endpoint

    def _ask(self, method: str, url: str, headers: dict[str, str] | None = None, body: str = "") -> dict[str, Any]:
        asked = {"Accept": "application/json", **(headers or {})}
        try:
            answer = self._http.request(method, url, body=body or None, headers=asked, preload_content=False)
            data = answer.read(_LARGEST)
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"the OpenID provider {self._settings.issuer} does not answer: {error}") from error
        try:
            content = orjson.loads(data)
        except orjson.JSONDecodeError:
            content = None
        if answer.status >= 500:
            raise UnavailableError(f"the OpenID provider {self._settings.issuer} answers {answer.status}")
        if not isinstance(content, dict) or answer.status >= 300:
            reason = content.get("error", answer.status) if isinstance(content, dict) else answer.status
            raise InvalidInputError(f"the OpenID provider refuses: {str(reason)[:200]}")
        return content


def _usable(keys: list[Any]) -> Any:
    """Yield the keys that sign, by their ID; those of a kind that is not known are left out."""
    for each in keys:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        try:
            yield str(each.get("kid", "")), jwt.PyJWK(each)
        except jwt.PyJWTError:
            continue
