"""Tells the audit trail what became of what was received: who sent which instances of which study, or in vain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from vna.domain.audit import Action, AuditEvent, Participant, Role, StudyObject, count_studies
from vna.domain.audit import Outcome as Failure
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.ingest.quarantine import Quarantined
from vna.ingest.spool import SpoolEntry
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


def note_quarantined(trail: Repeated, process: Participant) -> Callable[[Quarantined], None]:
    """Return what the quarantine calls with each entry that was put there.

    It is a transfer (PS3.15 A.5.3.7) that failed after it was acknowledged. Which study it would have been is not
    known: nothing could be read.
    """

    def note(item: Quarantined) -> None:
        origin = SpoolEntry.parse(item.name).origin
        event = replace(
            _event(origin, process, (), "C"),
            outcome=Failure.SERIOUS_FAILURE,
            target=item.name,
            detail=f"put in quarantine: {item.reason}{_meant(item)}",
        )
        trail.repeated(("quarantined", origin, item.error, item.reason), event)

    return note


def given_back(who: Participant, process: Participant, item: Quarantined) -> AuditEvent:
    """Return that somebody gave an entry of the quarantine back to be stored (Instances Accessed, A.5.3.6)."""
    return _decided(who, process, item, "U", f"given back from quarantine, where it was since {item.when[:19]}")


def dropped(who: Participant, process: Participant, item: Quarantined, reason: str) -> AuditEvent:
    """Return that somebody destroyed an entry of the quarantine (Instances Accessed, A.5.3.6)."""
    return _decided(who, process, item, "D", f"dropped from quarantine: {reason}")


def _decided(who: Participant, process: Participant, item: Quarantined, action: Action, what: str) -> AuditEvent:
    event = events.accessed(who, process, (), action=action, detail=f"{what}{_meant(item)}")
    return replace(event, target=item.name)


def _meant(item: Quarantined) -> str:
    sop = item.meta.get("sop_instance", "")
    return f"; SOP Instance UID {sop}" if sop else ""


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
