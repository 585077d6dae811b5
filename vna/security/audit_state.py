"""What is known of the chains: when they were verified last, and where one record stands in its chain."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson

from vna.domain.errors import NotFoundError
from vna.domain.identity import FACT_PREFIX
from vna.domain.origin import iso_utc, now_us
from vna.ports.objects import ObjectStore
from vna.security.audit_chain import NOTHING, PREFIX, SegmentKey, digest_of
from vna.security.audit_lines import moved
from vna.security.audit_verify import ChainReport

_VERIFIED = f"{FACT_PREFIX}audit/verified.json"
# For the end of the segment before the first one of a day.
_DAYS_BACK = 40


@dataclass(frozen=True, slots=True)
class Verified:
    """The last verification of all chains.

    Attributes
    ----------
    when
        When it ended, ISO 8601 in UTC.
    by
        Who ran it.
    chains, records
        How many were read.
    problems
        How many places are not as they were written.
    """

    when: str
    by: str
    chains: int
    records: int
    problems: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands in its chain.

    Attributes
    ----------
    segment, sealed
        Number of its segment, and when that was sealed (ISO 8601 in UTC).
    key
        Key of the segment in the object store; it ends with the SHA-256 of the segment.
    previous, digest
        SHA-256 of the record before, as this one tells it, and of this one.
    problems
        What is not as it was written: of the segment, and between this record, the one before and the one behind.
    """

    segment: int
    sealed: str
    key: str
    previous: str
    digest: str
    problems: tuple[str, ...]


def note(objects: ObjectStore, reports: list[ChainReport], by: str) -> None:
    """Keep that the chains were verified, for people who look at the trail."""
    found = Verified(
        iso_utc(now_us()),
        by,
        sum(1 for report in reports if report.chain),
        sum(report.records for report in reports),
        sum(len(report.problems) for report in reports),
    )
    objects.replace(_VERIFIED, orjson.dumps(asdict(found)))


def last_verified(objects: ObjectStore) -> Verified | None:
    """Return the last verification, ``None`` if there was none."""
    with suppress(NotFoundError, ValueError, TypeError):
        return Verified(**orjson.loads(objects.get(_VERIFIED)))
    return None


def place(objects: ObjectStore, key: str, sequence: int) -> Place:
    """Return where a record stands.

    Parameters
    ----------
    objects
        The object store.
    key
        Key of the segment that has it.
    sequence
        Number of the record in its chain.

    Raises
    ------
    NotFoundError
        There is no such segment, or it has no such record.
    """
    parsed = SegmentKey.parse(key)
    data = objects.get(key) if parsed else b""
    lines = data.splitlines()
    head = _json(lines[0]) if lines else {}
    at = sequence - int(str(head.get("first", 0))) + 1
    if parsed is None or not 1 <= at < len(lines):
        raise NotFoundError(f"there is no record {sequence} in {key}")
    return _place(objects, parsed, lines, at, head, whole=digest_of(data) == parsed.digest)


def _place(
    objects: ObjectStore, key: SegmentKey, lines: list[bytes], at: int, head: dict[str, object], *, whole: bool
) -> Place:
    line = lines[at]
    previous, digest = str(_json(line).get("previous", "")), digest_of(line)
    problems = [] if whole else ["The bytes of the segment are not those that its name tells."]
    before = digest_of(lines[at - 1]) if at > 1 else _end_before(objects, key)
    if before and previous != before:
        problems.append("The record before it is missing, or is not the one that it follows.")
    if at + 1 < len(lines) and _json(lines[at + 1]).get("previous") != digest:
        problems.append("The record was altered: it is not the one that the record behind it follows.")
    return Place(key.number, str(head.get("sealed", "")), key.key, previous, digest, tuple(problems))


def _end_before(objects: ObjectStore, key: SegmentKey) -> str:
    """Return the SHA-256 of the last record of the segment before; empty if it is not among those of the last days."""
    if key.number == 1:
        return NOTHING
    day = key.day
    for _ in range(_DAYS_BACK):
        before = [info.key for info in objects.list(f"{PREFIX}{key.chain}/{day}/") if info.key < key.key]
        if before:
            return digest_of(objects.get(before[-1]).splitlines()[-1])
        day = moved(day, -1)
    return ""


def _json(line: bytes) -> dict[str, object]:
    with suppress(ValueError):
        found = orjson.loads(line)
        return found if isinstance(found, dict) else {}
    return {}
