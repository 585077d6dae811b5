"""Elements whose bytes were seen before, so that the same value is not read and normalised again for each instance.

Only what follows from the value representation, the bytes, the byte order and
the character set alone may be kept here; an element that gave rise to a
warning may not, since the warning belongs to each instance anew.
"""

from __future__ import annotations

from typing import Any

from vna.domain.records import SharedElement

LONGEST = 128
"""Bytes of a value above which it is not shared: long ones seldom repeat."""
_MOST = 16384


class Seen(dict[tuple[str, bytes], SharedElement]):
    """Elements by value representation and bytes, for one byte order and character set."""

    def add(self, vr: str, raw: bytes, values: list[Any] | None) -> SharedElement:
        """Keep the element of these bytes and return it."""
        global _count  # noqa: PLW0603 - one limit for all of them
        if _count >= _MOST:
            for each in list(_SEEN.values()):
                each.clear()
            _SEEN.clear()
            _count = 0
        _count += 1
        element = self[vr, raw] = SharedElement({"vr": vr, "Value": values} if values else {"vr": vr})
        return element


_SEEN: dict[tuple[tuple[str, ...], bool], Seen] = {}
_count = 0


def seen(charset: tuple[str, ...], *, little: bool) -> Seen:
    """Return what was seen in a Specific Character Set (PS3.3 C.12.1.1.2) and byte order (PS3.5 7.3)."""
    found = _SEEN.get((charset, little))
    if found is None:
        found = _SEEN[charset, little] = Seen()
    return found
