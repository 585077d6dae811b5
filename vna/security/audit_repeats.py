"""What happens again and again within a short time is told twice: at once, and in sum when the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from vna.domain.audit import AuditEvent, StudyObject

_MOST = 10_000


@dataclass(slots=True)
class _Held:
    until: float
    first: AuditEvent
    classes: dict[str, dict[str, int]]
    times: int = 0


class Repeats:
    """Holds back events that are like one before. Not safe for several threads.

    The first is told at once, so that nothing that happened is unknown after a
    crash, only how often. What came after it within the span is one event, with
    the instances of all of them added up.
    """

    def __init__(self, seconds: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._held: dict[Hashable, _Held] = {}

    @property
    def waiting(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def add(self, key: Hashable, event: AuditEvent) -> list[AuditEvent]:
        """Take an event; return what is to be told now."""
        now = self._now()
        told = self.due() if len(self._held) < _MOST else self.due(everything=True)
        held = self._held.get(key)
        if held is None:
            self._held[key] = _Held(now + self._seconds, event, {})
            told.append(event)
            return told
        held.times += 1
        for study in event.studies:
            classes = held.classes.setdefault(study.uid, {})
            for uid, count in study.classes:
                classes[uid] = classes.get(uid, 0) + count
        return told

    def due(self, *, everything: bool = False) -> list[AuditEvent]:
        """Return the sums of what is over, or of everything; forget those."""
        now = self._now()
        over = [key for key, held in self._held.items() if everything or held.until <= now]
        return [_sum(held) for held in map(self._held.pop, over) if held.times]


def _sum(held: _Held) -> AuditEvent:
    patients = {study.uid: study.patient_id for study in held.first.studies}
    studies = tuple(
        StudyObject(uid, patients.get(uid, ""), tuple(sorted(classes.items()))) for uid, classes in held.classes.items()
    )
    more = f"{held.times} times more"
    detail = f"{held.first.detail}; {more}" if held.first.detail else more
    fresh = AuditEvent(held.first.kind, held.first.action, held.first.participants)
    return replace(held.first, studies=studies, detail=detail, id=fresh.id, when_us=fresh.when_us)
