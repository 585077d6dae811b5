"""Tells the audit trail what was committed: who sent which instances of which study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from vna.domain.audit import Action, AuditEvent, Participant, Role, StudyObject, count_studies
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.ports.index import Outcome, Upserted
from vna.security import audit_events as events

_PATIENT_ID = "00100020"


class Repeated(Protocol):
    """What of the trail is needed here."""

    def repeated(self, key: tuple[object, ...], event: AuditEvent) -> None:
        """Take an event of which many come."""


def note_committed(
    trail: Repeated, process: Participant
) -> Callable[[Sequence[IndexedInstance], Sequence[Upserted]], None]:
    """Return what a committer calls with each batch: one event for each sender, study, and new or known."""

    def note(instances: Sequence[IndexedInstance], outcomes: Sequence[Upserted]) -> None:
        groups: dict[tuple[Origin, str, Action], list[IndexedInstance]] = {}
        for instance, found in zip(instances, outcomes, strict=True):
            action: Action = "R" if found.outcome is Outcome.DUPLICATE else "C"
            groups.setdefault((_sender(instance.origin), instance.uids.study, action), []).append(instance)
        for (origin, study, action), members in groups.items():
            counted = count_studies((study, one.sop_class) for one in members)
            studies = tuple(replace(each, patient_id=_patient(members[0])) for each in counted)
            trail.repeated(("committed", origin, study, action), _event(origin, process, studies, action))

    return note


def _sender(origin: Origin) -> Origin:
    # The name of each imported file would make an event of its own.
    return replace(origin, called="") if origin.protocol == "import" else origin


def _event(origin: Origin, process: Participant, studies: tuple[StudyObject, ...], action: Action) -> AuditEvent:
    if origin.protocol == "import":
        return events.imported(replace(process, role=Role.DESTINATION, requestor=True), "files", studies)
    source = Participant(origin.calling or "anonymous", Role.SOURCE, requestor=True, address=origin.address)
    destination = replace(process, role=Role.DESTINATION, alternative=origin.called or process.alternative)
    return events.transferred(source, destination, studies, action=action, detail=origin.protocol)


def _patient(instance: IndexedInstance) -> str:
    values = instance.attributes.get(_PATIENT_ID, {}).get("Value", [])
    return str(values[0]) if values else ""
