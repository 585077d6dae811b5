"""Checks and rewriting of criteria that adapters share."""

from __future__ import annotations

from vna.domain.errors import InvalidQueryError
from vna.domain.query import Query, Wildcard

MAX_PATTERN = 1024
"""Longest wild card pattern, in characters: attributes that are matched so have at most 10240 (PS3.5 6.2, LT)."""

MIDNIGHT = "000000.000000"
"""What a missing time counts as in combined date and time matching."""


def check_page(query: Query) -> None:
    """Raise ``InvalidQueryError`` for a page that cannot be."""
    if query.offset < 0 or (query.limit is not None and query.limit < 0):
        raise InvalidQueryError("limit and offset are not negative")


def check_pattern(criterion: Wildcard) -> None:
    """Raise ``InvalidQueryError`` for a pattern that is too long."""
    if len(criterion.pattern) > MAX_PATTERN:
        raise InvalidQueryError(f"the pattern is longer than {MAX_PATTERN} characters", attribute=criterion.path)


def literal_prefix(pattern: str) -> str:
    """Return what every match of a pattern starts with."""
    for position, character in enumerate(pattern):
        if character in "*?":
            return pattern[:position]
    return pattern


def after_prefix(prefix: str) -> str | None:
    """Return the least text greater than all that start with ``prefix``, by code points; ``None`` if there is none."""
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1])
        if code < 0x10FFFF:
            # Surrogates cannot be stored, so the text after U+D7FF is U+E000.
            following = 0xE000 if code == 0xD7FF else code + 1
            return prefix[: end - 1] + chr(following)
    return None


def glob(pattern: str) -> str:
    """Return a wild card pattern for SQLite's ``GLOB``, where ``[`` means something too; runs of ``*`` become one."""
    out: list[str] = []
    for character in pattern:
        if character == "*" and out and out[-1] == "*":
            continue
        out.append("[[]" if character == "[" else character)
    return "".join(out)
