"""The events that the archive reports, each made as its section of PS3.15 A.5.3 says."""

from __future__ import annotations

from vna.domain.audit import (
    Action,
    AuditEvent,
    Kind,
    Outcome,
    Participant,
    QueryObject,
    Role,
    StudyObject,
    Type,
)

Studies = tuple[StudyObject, ...]


def application_activity(process: str, *, start: bool, ae_title: str = "") -> AuditEvent:
    """Return that a process of the archive starts or stops (A.5.3.1)."""
    who = Participant(process, Role.APPLICATION, alternative=ae_title)
    return AuditEvent(Kind.APPLICATION_ACTIVITY, "E", (who,), type=Type.START if start else Type.STOP)


def audit_log_used(user: Participant, process: Participant, target: str, detail: str = "") -> AuditEvent:
    """Return that somebody reads the trail (A.5.3.2); ``detail`` is what of it was asked for."""
    return AuditEvent(Kind.AUDIT_LOG_USED, "R", (user, process), target=target, detail=detail)


def begin_transferring(
    source: Participant, destination: Participant, detail: str, outcome: Outcome = Outcome.SUCCESS
) -> AuditEvent:
    """Return that an association for storage was served (A.5.3.3); its studies are told when they are committed."""
    return AuditEvent(Kind.BEGIN_TRANSFERRING, "E", (source, destination), outcome, detail=detail)


def transferred(
    source: Participant,
    destination: Participant,
    studies: Studies,
    *,
    action: Action,
    outcome: Outcome = Outcome.SUCCESS,
    others: tuple[Participant, ...] = (),
    detail: str = "",
) -> AuditEvent:
    """Return that instances went from one to another (A.5.3.7).

    ``action`` is ``C`` if the receiver had none of them, ``R`` if it had, or if
    that is not known.
    """
    people = (source, destination, *others)
    return AuditEvent(Kind.INSTANCES_TRANSFERRED, action, people, outcome, studies=studies, detail=detail)


def accessed(
    user: Participant, process: Participant, studies: Studies, *, action: Action = "R", detail: str = ""
) -> AuditEvent:
    """Return that somebody saw or changed instances (A.5.3.6)."""
    return AuditEvent(Kind.INSTANCES_ACCESSED, action, (user, process), studies=studies, detail=detail)


def exported(user: Participant, media: str, studies: Studies, detail: str = "") -> AuditEvent:
    """Return that instances left the archive's control (A.5.3.4)."""
    people = (user, Participant(media, Role.DESTINATION_MEDIA))
    return AuditEvent(Kind.EXPORT, "R", people, studies=studies, detail=detail)


def imported(user: Participant, media: str, studies: Studies, detail: str = "") -> AuditEvent:
    """Return that instances came from elsewhere than the network (A.5.3.5)."""
    people = (user, Participant(media, Role.SOURCE_MEDIA))
    return AuditEvent(Kind.IMPORT, "C", people, studies=studies, detail=detail)


def study_deleted(
    user: Participant, studies: Studies, detail: str = "", outcome: Outcome = Outcome.SUCCESS
) -> AuditEvent:
    """Return that studies were deleted, or asked to be (A.5.3.8)."""
    return AuditEvent(Kind.STUDY_DELETED, "D", (user,), outcome, studies=studies, detail=detail)


def refused_association(peer: Participant, process: Participant, why: str) -> AuditEvent:
    """Return that a node that called was not let in (A.5.3.9)."""
    return AuditEvent(Kind.NETWORK_ENTRY, "E", (peer, process), Outcome.MINOR_FAILURE, Type.ATTACH, detail=why)


def query(
    source: Participant, process: Participant, asked: QueryObject, outcome: Outcome = Outcome.SUCCESS, detail: str = ""
) -> AuditEvent:
    """Return that somebody searched (A.5.3.10)."""
    return AuditEvent(Kind.QUERY, "E", (source, process), outcome, query=asked, detail=detail)


def procedure_record(
    user: Participant, process: Participant, target: str, studies: Studies, *, action: Action, detail: str
) -> AuditEvent:
    """Return that somebody created, saw or changed a work item (PS3.16 CID 400, Procedure Record)."""
    return AuditEvent(Kind.PROCEDURE_RECORD, action, (user, process), studies=studies, target=target, detail=detail)


def refused_access(user: Participant, process: Participant, target: str, detail: str) -> AuditEvent:
    """Return that somebody was refused (A.5.3.11, Use of Restricted Function)."""
    people = (process, user)
    return AuditEvent(
        Kind.SECURITY_ALERT, "E", people, Outcome.MINOR_FAILURE, Type.RESTRICTED_FUNCTION, target=target, detail=detail
    )


def failed_node(node: Participant, process: Participant, why: str) -> AuditEvent:
    """Return that a node could not prove who it is (A.5.3.11, Node Authentication)."""
    people = (process, node)
    return AuditEvent(Kind.SECURITY_ALERT, "E", people, Outcome.MINOR_FAILURE, Type.NODE_AUTHENTICATION, detail=why)


def authentication(
    user: Participant, process: Participant, *, login: bool = True, succeeded: bool = True, detail: str = ""
) -> AuditEvent:
    """Return that somebody signed in or out, or tried to (A.5.3.12)."""
    outcome = Outcome.SUCCESS if succeeded else Outcome.MINOR_FAILURE
    kind = Type.LOGIN if login else Type.LOGOUT
    return AuditEvent(Kind.USER_AUTHENTICATION, "E", (user, process), outcome, kind, detail=detail)
