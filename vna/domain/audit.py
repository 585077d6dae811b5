"""Audit events: who saw, sent, changed or deleted what (PS3.15 A.5).

An event is a plain value. It has two forms outside of this process: the record of
the trail (:func:`to_record`, canonical JSON) and the message of the standard
(:mod:`vna.security.audit_xml`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Literal

from vna.domain.origin import now_us

Action = Literal["C", "R", "U", "D", "E"]


class Kind(StrEnum):
    """What happened (PS3.15 A.5.3, DICOM CID 400)."""

    APPLICATION_ACTIVITY = "application-activity"
    AUDIT_LOG_USED = "audit-log-used"
    BEGIN_TRANSFERRING = "begin-transferring"
    EXPORT = "export"
    IMPORT = "import"
    INSTANCES_ACCESSED = "instances-accessed"
    INSTANCES_TRANSFERRED = "instances-transferred"
    STUDY_DELETED = "study-deleted"
    NETWORK_ENTRY = "network-entry"
    PROCEDURE_RECORD = "procedure-record"
    QUERY = "query"
    SECURITY_ALERT = "security-alert"
    USER_AUTHENTICATION = "user-authentication"


class Outcome(IntEnum):
    """How it went (EventOutcomeIndicator of PS3.15 A.5.1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class Role(StrEnum):
    """What a participant did (RoleIDCode; DICOM CID 402)."""

    APPLICATION = "110150"
    LAUNCHER = "110151"
    DESTINATION = "110152"
    SOURCE = "110153"
    DESTINATION_MEDIA = "110154"
    SOURCE_MEDIA = "110155"
    NONE = ""


class Type(StrEnum):
    """Further detail of an event (EventTypeCode; DICOM CID 401)."""

    START = "110120"
    STOP = "110121"
    LOGIN = "110122"
    LOGOUT = "110123"
    ATTACH = "110124"
    DETACH = "110125"
    NODE_AUTHENTICATION = "110126"
    RESTRICTED_FUNCTION = "110132"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Participant:
    """A person or a process that took part.

    Attributes
    ----------
    user
        User, AE title, or name of the process; ``anonymous`` for a client without credentials.
    role
        What it did.
    requestor
        Whether it asked for what happened.
    address
        Network address, without port; may be empty.
    alternative
        AE title of a process that is named otherwise; may be empty.
    name
        Name of a person; may be empty.
    """

    user: str
    role: Role = Role.NONE
    requestor: bool = False
    address: str = ""
    alternative: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class StudyObject:
    """A study that it happened to.

    Attributes
    ----------
    uid
        Study Instance UID (0020,000D).
    patient_id
        Patient ID (0010,0020); empty if it is not known.
    classes
        SOP Class UIDs, and how many instances of each.
    """

    uid: str
    patient_id: str = ""
    classes: tuple[tuple[str, int], ...] = ()

    @property
    def instances(self) -> int:
        """Number of instances."""
        return sum(count for _uid, count in self.classes)


@dataclass(frozen=True, slots=True)
class QueryObject:
    """What was asked: a C-FIND identifier with its SOP class and transfer syntax, or the URL of a search.

    Attributes
    ----------
    target
        SOP Class UID, or path of the resource.
    text
        The encoded identifier in Base64, or the URL.
    transfer_syntax
        Transfer Syntax UID of the identifier; empty for a URL.
    """

    target: str
    text: str
    transfer_syntax: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that the trail keeps.

    Attributes
    ----------
    kind, action, outcome, type
        What happened and how it went.
    participants
        Who took part; at least one.
    studies, query
        What it happened to.
    target
        Anything else that it happened to, such as the path of a resource.
    detail
        A sentence for a person.
    when_us
        When, in microseconds since 1970 UTC.
    id
        16 hex digits, different for each event: by it a copy is told from another event.
    """

    kind: Kind
    action: Action
    participants: tuple[Participant, ...]
    outcome: Outcome = Outcome.SUCCESS
    type: Type = Type.NONE
    studies: tuple[StudyObject, ...] = ()
    query: QueryObject | None = None
    target: str = ""
    detail: str = ""
    when_us: int = field(default_factory=now_us)
    id: str = field(default_factory=lambda: os.urandom(8).hex())


def to_record(event: AuditEvent) -> dict[str, Any]:
    """Return an event as values of JSON; what is empty is left out."""
    return {key: _lean(value) for key, value in asdict(event).items() if key == "outcome" or value not in _EMPTY}


_EMPTY: tuple[Any, ...] = ("", (), None)


def _lean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lean(item) for key, item in value.items() if item not in _EMPTY}
    return [_lean(item) for item in value] if isinstance(value, tuple | list) else value


def from_record(record: dict[str, Any]) -> AuditEvent:
    """Read an event back; raises ``ValueError``, ``KeyError`` or ``TypeError`` for a record that is none."""
    query = record.get("query")
    return AuditEvent(
        kind=Kind(record["kind"]),
        action=record["action"],
        participants=tuple(
            Participant(**(each | {"role": Role(each.get("role", ""))})) for each in record.get("participants", ())
        ),
        outcome=Outcome(record["outcome"]),
        type=Type(record.get("type", "")),
        studies=tuple(
            StudyObject(
                each["uid"],
                each.get("patient_id", ""),
                tuple((uid, int(count)) for uid, count in each.get("classes", ())),
            )
            for each in record.get("studies", ())
        ),
        query=QueryObject(**query) if query else None,
        target=record.get("target", ""),
        detail=record.get("detail", ""),
        when_us=int(record["when_us"]),
        id=record["id"],
    )


def count_studies(seen: Iterable[tuple[str, str]]) -> tuple[StudyObject, ...]:
    """Return the studies of some instances, given as Study Instance UID and SOP Class UID each, with their counts."""
    counts: dict[str, dict[str, int]] = {}
    for study, sop_class in seen:
        classes = counts.setdefault(study, {})
        classes[sop_class] = classes.get(sop_class, 0) + 1
    return tuple(StudyObject(study, "", tuple(sorted(classes.items()))) for study, classes in counts.items())
