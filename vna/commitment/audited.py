"""Tells the audit trail what an application entity was told of its instances: that it may delete them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from vna.commitment.decision import Result
from vna.commitment.request import Request
from vna.commitment.state import DELIVERED, State
from vna.domain.audit import AuditEvent, Outcome, Participant, Role, StudyObject
from vna.security import audit_events as events
from vna.security.audit_patients import Patients


class Trail(Protocol):
    """What of the trail is needed here."""

    def record(self, event: AuditEvent) -> None:
        """Take an event."""


def note_ended(trail: Trail, process: Participant, patients: Patients) -> Callable[[State, Request, Result], None]:
    """Return what is called with each transaction that was reported, or given up (PS3.15 A.5.3.6)."""

    def note(state: State, request: Request, result: Result) -> None:
        classes: dict[str, dict[str, int]] = {}
        for study, sop_class, count in result.studies:
            classes.setdefault(study, {})[sop_class] = count
        studies = tuple(StudyObject(study, "", tuple(sorted(each.items()))) for study, each in classes.items())
        committed = len(request.references) - len(result.failures)
        how = "reported" if state.phase == DELIVERED else f"not reported: {state.error}"
        detail = f"storage commitment {request.transaction}: {committed} committed, {len(result.failures)} not; {how}"
        peer = Participant(
            request.ae_title, Role.DESTINATION, True, address=request.address, alternative=request.ae_title
        )
        event = events.accessed(peer, process, patients.fill(studies), detail=detail)
        good = state.phase == DELIVERED and not result.failures
        trail.record(event if good else replace(event, outcome=Outcome.MINOR_FAILURE))

    return note
