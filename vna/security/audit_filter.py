"""Which events of the trail are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson

from vna.domain.audit import AuditEvent, Kind, Outcome


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events are wanted; every given part must match.

    Attributes
    ----------
    since_us, until_us
        Span of time, microseconds since 1970 UTC; the end does not belong to it.
    patient, study
        Patient ID and Study Instance UID of what it happened to.
    user
        User, AE title, name or address of a participant, without regard to case.
    kind
        What happened.
    failed
        ``True`` for what did not go well, ``False`` for what did, ``None`` for both.
    """

    since_us: int | None = None
    until_us: int | None = None
    patient: str = ""
    study: str = ""
    user: str = ""
    kind: Kind | None = None
    failed: bool | None = None

    def spans(self, when_us: int) -> bool:
        """Say whether a moment is within the span of time."""
        since, until = self.since_us, self.until_us
        return (since is None or when_us >= since) and (until is None or when_us < until)

    def matches(self, event: AuditEvent) -> bool:
        """Say whether an event is wanted."""
        if not self.spans(event.when_us):
            return False
        if self.kind is not None and event.kind != self.kind:
            return False
        if self.failed is not None and (event.outcome is not Outcome.SUCCESS) is not self.failed:
            return False
        if self.study and all(study.uid != self.study for study in event.studies):
            return False
        if self.patient and all(study.patient_id != self.patient for study in event.studies):
            return False
        wanted = self.user.casefold()
        return not wanted or any(
            wanted in {one.user.casefold(), one.alternative.casefold(), one.name.casefold(), one.address.casefold()}
            for one in event.participants
        )

    def sieve(self) -> Callable[[bytes], bool]:
        """Return what says quickly of a record's bytes whether its event may match.

        It passes every event that matches, and few others: parsing costs ten
        times as much. Records are canonical JSON, so the bytes of a value are known.
        """
        needles = [
            b'"%b":%b' % (name, orjson.dumps(value))
            for name, value in ((b"kind", self.kind), (b"uid", self.study), (b"patient_id", self.patient))
            if value
        ]
        success = b'"outcome":%d' % Outcome.SUCCESS
        failed = self.failed
        user = orjson.dumps(self.user).lower() if self.user and self.user.isascii() else b""

        def may(line: bytes) -> bool:
            if not all(needle in line for needle in needles):
                return False
            if failed is not None and (success not in line) is not failed:
                return False
            # The case of other letters than those of ASCII is left to the whole comparison.
            return not user or user in line.lower() or not line.isascii()

        return may
