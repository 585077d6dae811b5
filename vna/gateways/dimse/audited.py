"""What the DIMSE gateway tells the audit trail: one event for an association or a request, never one an instance.

The receive path does not read data sets, so its event tells how many instances
came; which studies they were is told by whoever commits them
(:mod:`vna.ingest.audited`).
"""

from __future__ import annotations

import base64
from dataclasses import replace

from vna.bootstrap import Archive
from vna.commitment.request import Request as CommitmentRequest
from vna.domain.audit import Outcome, Participant, QueryObject, Role, count_studies
from vna.gateways.dimse.negotiation import AssociateRequest
from vna.gateways.dimse.operation import Operation, Request
from vna.gateways.dimse.rejection import Rejection
from vna.gateways.dimse.statuses import CANCELLED, SUCCESS
from vna.peers import commands
from vna.security import audit_events as events
from vna.security.audit import Recorder


def _peer(request: AssociateRequest, address: str) -> Participant:
    return Participant(request.calling, Role.SOURCE, requestor=True, address=address, alternative=request.calling)


def refused(audit: Recorder, request: AssociateRequest, address: str, rejection: Rejection) -> None:
    """Tell of an association that was rejected; one that tries again and again is added up."""
    why = rejection.why
    peer = replace(_peer(request, address), role=Role.NONE)
    process = Participant("vna", alternative=request.called)
    if rejection.alert:
        event = events.failed_node(replace(peer, requestor=False), replace(process, requestor=True), why)
    else:
        event = events.refused_association(peer, process, why)
    audit.repeated(("refused", request.calling, address, why), event)


def distrusted(audit: Recorder, address: str, ae_title: str, why: str) -> None:
    """Tell of a connection that came to no association, since its certificate is none of those trusted, or missing."""
    event = events.failed_node(
        Participant(address, address=address), Participant("vna", requestor=True, alternative=ae_title), why
    )
    audit.repeated(("distrusted", address, why), event)


def stored(
    audit: Recorder, request: AssociateRequest, address: str, how: str, *, instances: int, not_taken: int
) -> None:
    """Tell of an association for storage that has ended; one that only asked for an echo is not told."""
    if not instances and not not_taken:
        return
    outcome = Outcome.SUCCESS if how == "released" and not not_taken else Outcome.MINOR_FAILURE
    detail = f"{instances} instances received, {not_taken} refused; {how}"
    process = Participant("vna", Role.DESTINATION, alternative=request.called)
    audit.record(events.begin_transferring(_peer(request, address), process, detail, outcome))


def served(archive: Archive, operation: Operation, address: str) -> None:
    """Tell of a query, or of a retrieval with what the receiver has taken."""
    if not archive.settings.audit.enabled:
        return  # the index need not be asked whose studies they were
    request = operation.request
    caller = Participant(request.calling, requestor=True, address=address, alternative=request.calling)
    outcome = Outcome.SUCCESS if operation.status in {SUCCESS, CANCELLED} else Outcome.MINOR_FAILURE
    detail = "no answer" if operation.status is None else f"status {operation.status:04X}"
    if request.field == commands.C_FIND_RQ:
        asked = QueryObject(request.sop_class, base64.b64encode(request.identifier).decode(), request.transfer_syntax)
        source = replace(caller, role=Role.SOURCE)
        process = replace(archive.process, role=Role.DESTINATION)
        archive.audit.record(events.query(source, process, asked, outcome, detail))
        return
    studies = count_studies((one.uids.study, one.sop_class) for one in operation.sent)
    studies = archive.audit_patients.fill(studies)
    moved = request.field == commands.C_MOVE_RQ
    receiver = _destination(archive, request) if moved else replace(caller, role=Role.DESTINATION)
    archive.audit.record(
        events.transferred(
            replace(archive.process, role=Role.SOURCE),
            receiver,
            studies,
            action="R",
            outcome=outcome,
            others=(caller,) if moved else (),
            detail=f"{'C-MOVE' if moved else 'C-GET'}, {len(operation.sent)} instances, {detail}",
        )
    )


def commitment_asked(
    archive: Archive, calling: str, address: str, asked: CommitmentRequest | None, status: int
) -> None:
    """Tell of a request for storage commitment; what came of it is told when that is reported."""
    caller = Participant(calling, Role.SOURCE, requestor=True, address=address, alternative=calling)
    what = f"{len(asked.references)} instances in {asked.transaction}, " if asked is not None else ""
    event = events.accessed(
        caller, archive.process, (), action="E", detail=f"storage commitment asked for, {what}status {status:04X}"
    )
    archive.audit.record(event if status == SUCCESS else replace(event, outcome=Outcome.MINOR_FAILURE))


def _destination(archive: Archive, request: Request) -> Participant:
    peer = archive.settings.dimse.peers.get(request.destination)
    address = peer.host if peer is not None else ""
    return Participant(request.destination, Role.DESTINATION, address=address, alternative=request.destination)
