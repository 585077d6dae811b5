"""Finds what was removed, altered or moved in the trail, and names the place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from vna.domain.errors import NotFoundError
from vna.ports.objects import ObjectStore
from vna.security.audit_chain import NOTHING, PREFIX, Head, SegmentKey, digest_of


@dataclass(slots=True)
class ChainReport:
    """What was found of one chain.

    Attributes
    ----------
    chain
        Its name.
    segments, records
        How many were read.
    end
        Sequence number and SHA-256 of its last record, to be kept elsewhere.
    problems
        One sentence for each place that is not as it was written.
    """

    chain: str
    segments: int
    records: int
    end: tuple[int, str]
    problems: list[str]


def verify(objects: ObjectStore, local: Head | None = None) -> list[ChainReport]:
    """Read every chain of the object store.

    Parameters
    ----------
    objects
        The object store.
    local
        The head as this node knows it, by which segments missing at the end of its chain are found.
    """
    chains: dict[str, list[SegmentKey]] = {}
    strange: list[str] = []
    for info in objects.list(PREFIX):
        key = SegmentKey.parse(info.key)
        if key is None:
            strange.append(info.key)
        else:
            chains.setdefault(key.chain, []).append(key)
    if local is not None and local.segment:
        chains.setdefault(local.chain, [])
    reports = [
        _Chain(objects, name).read(sorted(keys, key=lambda one: one.number), local) for name, keys in chains.items()
    ]
    if strange:
        reports.append(ChainReport("", 0, 0, (0, NOTHING), [f"{key}: no segment of a chain" for key in strange]))
    return reports


class _Chain:
    def __init__(self, objects: ObjectStore, name: str) -> None:
        self._objects = objects
        self._name = name
        self._segment, self._digest = 0, NOTHING
        self._record, self._record_digest = 0, NOTHING
        self._records = 0
        self._problems: list[str] = []
        self._day = ""

    def read(self, keys: list[SegmentKey], local: Head | None) -> ChainReport:
        for key in keys:
            self._read(key)
        if local is not None and local.chain == self._name:
            self._compare(local)
        return ChainReport(self._name, len(keys), self._records, (self._record, self._record_digest), self._problems)

    def _say(self, where: str, what: str) -> None:
        self._problems.append(f"{where}: {what}")

    def _read(self, key: SegmentKey) -> None:
        try:
            data = self._objects.get(key.key)
        except NotFoundError:
            self._say(key.key, "was removed while it was looked for")
            return
        if key.number == self._segment:
            self._say(key.key, f"there is another segment {key.number}")
        elif key.number != self._segment + 1:
            self._say(key.key, f"{_span('segment', self._segment + 1, key.number - 1)} before it")
        if key.day < self._day:
            self._say(key.key, "its day is before that of the segment it follows")
        lines = data.splitlines()
        header = _json(lines[0]) if lines else None
        whole = digest_of(data) == key.digest
        before = len(self._problems)
        if header is None:
            self._say(key.key, "its header cannot be read")
        else:
            self._header(key, header)
        for number, line in enumerate(lines[1:], 1):
            self._line(key, number, line)
        if header is not None and len(lines) - 1 != header.get("count"):
            self._say(key.key, f"has {len(lines) - 1} records, its header says {header.get('count')}")
        if not whole:
            where = "" if len(self._problems) > before else "; it is its header or its last record that was altered"
            self._say(key.key, f"its bytes are not those that its name tells{where}")
        self._segment, self._digest, self._day = key.number, key.digest, key.day

    def _header(self, key: SegmentKey, header: dict[str, Any]) -> None:
        said = (header.get("chain"), header.get("segment"), header.get("day"))
        if said != (key.chain, key.number, key.day):
            self._say(key.key, f"its header is of {said[0]} segment {said[1]} of {said[2]}")
        if header.get("previous") != self._digest and key.number == self._segment + 1:
            self._say(key.key, f"segment {self._segment} is not the one that it follows")

    def _line(self, key: SegmentKey, number: int, line: bytes) -> None:
        record = _json(line)
        sequence = record.get("sequence") if record else None
        if record is None or not isinstance(sequence, int):
            self._say(key.key, f"line {number + 1} (record {self._record + 1}) cannot be read")
            self._record += 1
            self._record_digest = digest_of(line)
            return
        if sequence == self._record + 1:
            if record.get("previous") != self._record_digest:
                self._say(
                    key.key, f"record {self._record} was altered: it is not the one that record {sequence} follows"
                )
        elif sequence > self._record + 1:
            self._say(key.key, f"{_span('record', self._record + 1, sequence - 1)} before record {sequence}")
        else:
            self._say(key.key, f"record {sequence} stands behind record {self._record}: moved or doubled")
        self._records += 1
        self._record, self._record_digest = sequence, digest_of(line)

    def _compare(self, local: Head) -> None:
        if self._segment < local.segment:
            missing = _span("segment", self._segment + 1, local.segment)
            self._say(self._name, f"{missing} at its end: this node sealed up to record {local.record}")
        elif self._segment == local.segment and self._digest != local.digest:
            self._say(self._name, f"its last segment {self._segment} is not the one that this node sealed")


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _span(what: str, first: int, last: int) -> str:
    return f"{what} {first} is missing" if first == last else f"{what}s {first} to {last} are missing"


def problems(reports: list[ChainReport]) -> Iterator[str]:
    """Yield the problems of all chains."""
    for report in reports:
        yield from report.problems
