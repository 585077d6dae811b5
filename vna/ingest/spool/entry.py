"""What the spool knows of one entry. All of it is in the entry's name, so a name from the queue tells where to look."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import cast, get_args

from vna.domain.origin import Origin, Protocol

NAME_MOST = 255
SUFFIX = ".dcm"

# Names also come from the queue: nothing that is not of this shape ever becomes part of a path.
_NAME = re.compile(
    r"([0-9a-f]{14})\.([0-9a-f]{12})\.([0-9a-f]{1,16})\.([0-9a-f]{16})\.(f|[0-9a-f]{12}-[0-9a-f]{1,6})\.([a-z])([a-z])"
    r"\.([A-Za-z0-9_-]{1,200})\.dcm",
    re.ASCII,
)
# As the archive named entries before it had segments: a file in one folder, without a checksum.
_FIRST_NAME = re.compile(r"([0-9a-f]{14})\.([0-9a-f]{12})\.([0-9a-f]{1,16})\.([A-Za-z0-9_-]{1,200})\.dcm", re.ASCII)
_PROTOCOLS = frozenset(get_args(Protocol))


class Kind(Enum):
    """What an entry is."""

    INSTANCE = "i"
    MESSAGE = "m"
    UNKNOWN = "?"
    """A later version's; kept, and told."""


class Fate(Enum):
    """What is to become of an entry."""

    COMMIT = "c"
    KEEP = "k"
    FORWARD = "f"
    UNKNOWN = "?"
    """A later version's; kept, and told."""


_KINDS = {kind.value: kind for kind in Kind}
_FATES = {fate.value: fate for fate in Fate}


@lru_cache(maxsize=1024)
def encode_origin(origin: Origin) -> str:
    """Return an origin as a part of a name."""
    # 40, 16 and 45 bytes of names and an address make at most 150 of base64: a file name has room for 255.
    parts = (origin.protocol, origin.calling, origin.called, origin.address)
    raw = b"\0".join(
        part.replace("\0", "").encode("utf-8", "replace")[:most]
        for part, most in zip(parts, (8, 40, 16, 45), strict=True)
    )
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@lru_cache(maxsize=1024)
def _decode_origin(text: str) -> Origin:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # A name that was cut within a character loses that character.
    protocol, calling, called, address = (part.decode("utf-8", "ignore") for part in raw.split(b"\0"))
    if protocol not in _PROTOCOLS:
        message = f"no protocol of the archive: {protocol!r}"
        raise ValueError(message)
    return Origin(cast("Protocol", protocol), calling, called, address)


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One received instance in the spool.

    Attributes
    ----------
    name
        The entry's identity, in which all the rest is told.
    received_us
        When it had arrived, microseconds since 1970 UTC.
    length
        Length of the whole Part-10 file in bytes.
    origin
        Who sent it.
    checksum
        XXH3 (64 bits) of its bytes as they came from the network; ``None`` for an entry of the first format.
    segment, slot
        Number of the segment that holds it and its place there; -1 for an entry in a file of its own.
    kind, fate
        What it is, and what is to become of it.
    """

    name: str
    received_us: int
    length: int
    origin: Origin
    checksum: int | None = None
    segment: int = -1
    slot: int = -1
    kind: Kind = Kind.INSTANCE
    fate: Fate = Fate.COMMIT

    @classmethod
    def parse(cls, name: str) -> SpoolEntry:
        """Read an entry back from its name; raises ``ValueError`` for a name that is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            return cls._parse_first(name)
        received, _nonce, length, checksum, place, kind, fate, origin = found.groups()
        segment, _, slot = place.partition("-")
        return cls(
            name,
            int(received, 16),
            int(length, 16),
            _decode_origin(origin),
            int(checksum, 16),
            int(segment, 16) if slot else -1,
            int(slot, 16) if slot else -1,
            _KINDS.get(kind, Kind.UNKNOWN),
            _FATES.get(fate, Fate.UNKNOWN),
        )

    @classmethod
    def _parse_first(cls, name: str) -> SpoolEntry:
        found = _FIRST_NAME.fullmatch(name)
        if found is None:
            message = f"not the name of a spool entry: {name[:300]!r}"
            raise ValueError(message)
        received, _nonce, length, origin = found.groups()
        return cls(name, int(received, 16), int(length, 16), _decode_origin(origin))

    @property
    def nonce(self) -> str:
        """Twelve random hex digits of the name: what a person types to mean this entry."""
        return self.name[15:27]

    @property
    def known(self) -> bool:
        """Whether this version of the archive knows what to do with it."""
        return self.kind is not Kind.UNKNOWN and self.fate is not Fate.UNKNOWN

    @property
    def to_commit(self) -> bool:
        """Whether it is an instance that waits to be stored."""
        return self.kind is Kind.INSTANCE and self.fate is Fate.COMMIT


@dataclass(slots=True)
class Spooled:
    """What is in a spool.

    Attributes
    ----------
    entries, bytes
        Entries, and their bytes (0 if they were not asked for).
    oldest_us
        When the oldest of them was received, microseconds since 1970; 0 if there is none.
    unknown
        Entries of a kind that this version does not know, and files that are no entries. They are kept.
    damaged
        Places in segments that cannot be read, and files that are no segments. They are kept, too.
    """

    entries: int = 0
    bytes: int = 0
    oldest_us: int = 0
    unknown: int = 0
    damaged: int = 0

    def add(self, entry: SpoolEntry) -> None:
        """Count an entry."""
        self.entries += 1
        self.bytes += entry.length
        self.oldest_us = min(self.oldest_us or entry.received_us, entry.received_us)
        self.unknown += not entry.known


def make_name(  # noqa: PLR0917 - the parts of a name, in their order
    received_us: int, nonce: str, length: int, checksum: int, place: str, kind: Kind, fate: Fate, origin: Origin
) -> str:
    """Return the name of a new entry; ``place`` is ``f``, or segment and slot in hex, joined by a hyphen."""
    return (
        f"{received_us:014x}.{nonce}.{length:x}.{checksum:016x}.{place}.{kind.value}{fate.value}"
        f".{encode_origin(origin)}{SUFFIX}"
    )
