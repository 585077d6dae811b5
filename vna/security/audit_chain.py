"""The chain in the object store: segments of records, each bound to the one before by its hash.

A segment is an object ``audit/<chain>/<yyyy>/<mm>/<dd>/<number>-<SHA-256>.jsonl``.
Its first line is its header, each further line a record ``{"event": …,
"previous": <SHA-256 of the line before>, "sequence": n}``. The header holds the
hash of the whole segment before, and up to where each file of the local audit
log is sealed: so the chain itself says what comes next, and no crash makes a
gap or a double.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from vna.security.audit_journal import canonical

PREFIX = "audit/"
NOTHING = "0" * 64
_KEY = re.compile(r"audit/([A-Za-z0-9_-]{1,64})/(\d{4}/\d{2}/\d{2})/(\d{12})-([0-9a-f]{64})\.jsonl")


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """The parts of a segment's key."""

    key: str
    chain: str
    day: str
    number: int
    digest: str

    @classmethod
    def parse(cls, key: str) -> SegmentKey | None:
        """Read a key; ``None`` for one that no segment has."""
        found = _KEY.fullmatch(key)
        return cls(key, found[1], found[2], int(found[3]), found[4]) if found else None


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: what the next segment must follow.

    Attributes
    ----------
    chain
        Name of the chain.
    segment, digest, day, key
        Number, SHA-256, day (``yyyy/mm/dd``) and key of its last segment; 0 and empty for none.
    record, record_digest
        Sequence number and SHA-256 of its last record.
    positions
        Up to where each file of the local audit log is sealed.
    """

    chain: str
    segment: int = 0
    digest: str = NOTHING
    day: str = ""
    key: str = ""
    record: int = 0
    record_digest: str = NOTHING
    positions: dict[str, int] = field(default_factory=dict)

    def extend(
        self, records: Sequence[dict[str, Any]], positions: dict[str, int], day: str, sealed: str
    ) -> tuple[bytes, Head]:
        """Return the next segment's bytes, and the head after it."""
        day = max(day, self.day)
        header = {
            "chain": self.chain,
            "count": len(records),
            "day": day,
            "first": self.record + 1,
            "positions": positions,
            "previous": self.digest,
            "sealed": sealed,
            "segment": self.segment + 1,
        }
        lines = [canonical(header)]
        previous = self.record_digest
        for sequence, event in enumerate(records, self.record + 1):
            lines.append(canonical({"event": event, "previous": previous, "sequence": sequence}))
            previous = digest_of(lines[-1])
        data = b"\n".join(lines) + b"\n"
        return data, head_of(data)


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def head_of(data: bytes) -> Head:
    """Return the head that a segment makes; raises ``ValueError`` or ``KeyError`` for what is no segment."""
    lines = data.splitlines()
    header = orjson.loads(lines[0])
    digest = digest_of(data)
    key = f"{PREFIX}{header['chain']}/{header['day']}/{header['segment']:012d}-{digest}.jsonl"
    return Head(
        header["chain"],
        header["segment"],
        digest,
        header["day"],
        key,
        header["first"] + header["count"] - 1,
        digest_of(lines[-1]),
        header["positions"],
    )


def records_of(data: bytes, may: Callable[[bytes], bool] = lambda _line: True) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield sequence number and event of each record of a segment; passes over what cannot be read, or may not."""
    for line in data.splitlines()[1:]:
        if not may(line):
            continue
        try:
            record = orjson.loads(line)
            yield record["sequence"], record["event"]
        except (ValueError, KeyError, TypeError):
            continue
