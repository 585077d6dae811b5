"""What a key may look like; the same on every adapter."""

from __future__ import annotations

import hashlib
import re

from vna.domain.identity import DAMAGED_PREFIX

MAX_KEY = 512
# File names end at 255 bytes on every file system in use, and two adapters keep parts of keys as file names.
MAX_PART = 255
_KEY = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_PREFIX = re.compile(r"[A-Za-z0-9/_.-]*")


def check_key(key: str) -> str:
    """Return a key that is well formed.

    Raises
    ------
    ValueError
        For characters outside ``[A-Za-z0-9/_.-]``, more than 512 of them, more
        than 255 in a part, and parts that are empty, ``.`` or ``..``.
    """
    if len(key) > MAX_KEY or _KEY.fullmatch(key) is None:
        raise ValueError(f"not a key: {key!r}")
    for part in key.split("/"):
        if part in {".", ".."} or len(part) > MAX_PART:
            raise ValueError(f"not a key: {key!r}")
    return key


def check_prefix(prefix: str) -> str:
    """Return the beginning of a key (or the empty text); raises ``ValueError`` for what begins no key."""
    if len(prefix) > MAX_KEY or _PREFIX.fullmatch(prefix) is None or prefix.startswith("/") or "//" in prefix:
        raise ValueError(f"not the beginning of a key: {prefix!r}")
    if any(part in {".", ".."} for part in prefix.split("/")[:-1]):
        raise ValueError(f"not the beginning of a key: {prefix!r}")
    return prefix


def damaged_key(key: str, mark: str) -> str:
    """Return the key under which what was found damaged is kept; the mark tells one damage from another."""
    mark = re.sub(r"[^A-Za-z0-9]", "", mark)[:64]
    kept = f"{DAMAGED_PREFIX}{key}.{mark}"
    if len(kept) > MAX_KEY or len(kept.rpartition("/")[2]) > MAX_PART:
        kept = f"{DAMAGED_PREFIX}{hashlib.sha256(key.encode()).hexdigest()}.{mark}"
    return kept
