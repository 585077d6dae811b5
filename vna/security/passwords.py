"""Passwords: kept as scrypt digests (RFC 7914), chosen by a person or made for the first sign-in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from vna.domain.errors import InvalidInputError

SHORTEST = 12
LONGEST = 256
_KINDS = 5  # of characters
_TELLING = 3  # shorter names are within many words
# 16 MiB and some 40 ms for one guess.
_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def check_new(password: str, name: str) -> None:
    """Raise ``InvalidInputError`` for a password that must not be chosen (NIST SP 800-63B: length is what counts)."""
    if len(password) < SHORTEST:
        raise InvalidInputError(f"a password has at least {SHORTEST} characters")
    if len(password) > LONGEST:
        raise InvalidInputError(f"a password has at most {LONGEST} characters")
    if len(set(password)) < _KINDS:
        raise InvalidInputError(f"a password has at least {_KINDS} different characters")
    if len(name) >= _TELLING and name.lower() in password.lower():
        raise InvalidInputError("a password does not have its user's name in it")


def one_time() -> str:
    """Return a new password to be typed once: four groups of five letters, 98 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def digest(password: str) -> str:
    """Return what is kept of a password."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_COST}${_BLOCK}${_PARALLEL}${_text(salt)}${_text(_scrypt(password, salt))}"


def matches(password: str, kept: str) -> bool:
    """Say whether a password is the one that was kept."""
    try:
        kind, cost, block, parallel, salt, expected = kept.split("$")
        if kind != "scrypt" or len(password) > LONGEST:
            return False
        found = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(parallel))
        return hmac.compare_digest(found, base64.b64decode(expected))
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes, cost: int = _COST, block: int = _BLOCK, parallel: int = _PARALLEL) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=block, p=parallel, maxmem=64 << 20, dklen=32
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
