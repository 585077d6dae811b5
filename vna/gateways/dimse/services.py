"""The services that pynetdicom negotiates and this archive answers.

Verification, C-FIND, C-MOVE, C-GET, storage commitment, and storage.

Storage has a receive path of its own; here it serves associations that propose
it together with others, and the contexts of C-GET.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext

from vna.bootstrap import Archive
from vna.commitment.request import COMMITMENT_CLASS, MOST_BYTES
from vna.config import DimseSettings
from vna.dicom.dataset import IDENTIFIER_SYNTAXES
from vna.dicom.decode import Decoder
from vna.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from vna.gateways.decoding import make_pool
from vna.gateways.dimse import audited, query, retrieve
from vna.gateways.dimse.commitment import CommitmentService
from vna.gateways.dimse.contexts import VERIFICATION, Supported
from vna.gateways.dimse.intake import Intake
from vna.gateways.dimse.mixed import MixedStorage
from vna.gateways.dimse.operation import Operation, Request
from vna.gateways.dimse.query import FIND_ROOTS, QueryService
from vna.gateways.dimse.retrieve import GET_ROOTS, MOVE_ROOTS, RetrieveService
from vna.gateways.dimse.takeover import Takeover
from vna.peers import commands
from vna.peers.channel import ChannelClosedError
from vna.retrieve.limited import LimitedPool

log = logging.getLogger(__name__)

# How long a frame waits for its turn: a retrieval of thousands is no client that waits for a picture.
_DECODER_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Services:
    """What serves an association that is handed over.

    Attributes
    ----------
    ae
        The application entity: its contexts and limits.
    handlers
        Event handlers, as :meth:`pynetdicom.ae.ApplicationEntity.start_server` takes them.
    decoders
        Child processes that decode what a receiver does not take as stored: what a frame does to a
        decoder costs its sub-operation, and not the gateway.
    """

    ae: ApplicationEntity
    handlers: Sequence[tuple[Any, ...]]
    decoders: LimitedPool

    def close(self) -> None:
        """End the child processes."""
        self.decoders.close()


def make_ae(archive: Archive) -> Services:
    """Return the services of an archive. Nothing connects before the first request."""
    settings = archive.settings.dimse
    # pynetdicom has these for the process only.
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    _config.LOG_HANDLER_LEVEL = "none"
    decoders = make_pool(archive.settings.http, wait_seconds=_DECODER_SECONDS)
    serving = _Serving(archive, decoders.decode)
    handlers = [
        (evt.EVT_REQUESTED, _follow_the_requestor),
        (evt.EVT_SOP_EXTENDED, _negotiate_extended),
        (evt.EVT_ESTABLISHED, serving.attach),
        (evt.EVT_ABORTED, serving.detach),
        (evt.EVT_RELEASED, serving.detach),
    ]
    return Services(_entity(settings, commitment=archive.settings.commitment.enabled), handlers, decoders)


def _entity(settings: DimseSettings, *, commitment: bool) -> ApplicationEntity:
    ae = ApplicationEntity(ae_title=settings.ae_title)
    ae.maximum_pdu_size = settings.max_pdu
    ae.maximum_associations = settings.max_associations
    ae.acse_timeout = settings.artim_seconds
    ae.network_timeout = settings.idle_seconds
    ae.dimse_timeout = settings.idle_seconds
    ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    others = (COMMITMENT_CLASS,) if commitment else ()
    for sop_class in (*FIND_ROOTS, *MOVE_ROOTS, *GET_ROOTS, VERIFICATION, *others):
        ae.add_supported_context(sop_class, list(IDENTIFIER_SYNTAXES))
    supported = Supported.configured(settings.private_sop_classes, settings.private_transfer_syntaxes)
    # The first that the requestor has too is accepted. For C-GET that is best an uncompressed one, which every
    # instance can be had in.
    first = [syntax for syntax in IDENTIFIER_SYNTAXES if syntax in supported.transfer_syntaxes]
    syntaxes = [*first, *sorted(supported.transfer_syntaxes.difference(first))]
    for sop_class in sorted(supported.storage):
        ae.add_supported_context(sop_class, syntaxes, scu_role=True, scp_role=True)
    return ae


def _follow_the_requestor(event: evt.Event) -> None:
    """Let the requestor's order of transfer syntaxes decide where it is the one to send."""
    assoc = event.assoc
    wanted: dict[str, dict[UID, None]] = {}
    for context in assoc.requestor.requested_contexts:
        wanted.setdefault(str(context.abstract_syntax), {}).update(dict.fromkeys(context.transfer_syntax))
    roles = assoc.requestor.role_selection
    kept = []
    for context in assoc.acceptor.supported_contexts:
        proposed = wanted.get(str(context.abstract_syntax))
        if proposed is None:
            continue
        if context.abstract_syntax not in roles:
            able = set(context.transfer_syntax)
            common: list[str | bytes | UID] = [syntax for syntax in proposed if syntax in able]
            if common:
                context.transfer_syntax = common
        kept.append(context)
    if kept:
        assoc.acceptor.supported_contexts = kept


def _negotiate_extended(event: Any) -> dict[UID, bytes]:
    """Answer SOP class extended negotiation (PS3.7 D.3.3.5) of the query and retrieve classes."""
    answers: dict[UID, bytes] = {}
    for uid, proposed in event.app_info.items():
        if uid in FIND_ROOTS:
            answers[uid] = query.accept_extended(proposed)
        elif uid in MOVE_ROOTS or uid in GET_ROOTS:
            answers[uid] = retrieve.accept_extended(proposed)
    return answers


class _Serving:
    """Answers requests on associations that pynetdicom has established."""

    def __init__(self, archive: Archive, decode: Decoder) -> None:
        self._archive = archive
        self._decode = decode
        self._settings = archive.settings.dimse
        self._storage = Supported.configured(self._settings.private_sop_classes, ()).storage

    def attach(self, event: evt.Event) -> None:
        """Have the requests of an association come here instead of pynetdicom's service classes."""
        assoc: Any = event.assoc
        if any(str(one.abstract_syntax) == COMMITMENT_CLASS for one in assoc.accepted_contexts):
            Intake(assoc, MOST_BYTES)
            assoc.vna_commitment = CommitmentService(self._archive, assoc)
        stored = [one for one in assoc.accepted_contexts if one.as_scp and str(one.abstract_syntax) in self._storage]
        if stored:
            assoc.vna_storage = MixedStorage(assoc, stored, self._archive.receiver, self._settings)
        usual = assoc._serve_request  # noqa: SLF001 - pynetdicom has no hook before it makes a service class

        def serve(message: Any, context_id: int) -> None:
            if not self._serve(assoc, message, context_id):
                usual(message, context_id)

        assoc._serve_request = serve  # noqa: SLF001 - as above

    def detach(self, event: Any) -> None:
        """Leave nothing of a data set that was being received when an association ended, and no report unanswered."""
        commitment: CommitmentService | None = getattr(event.assoc, "vna_commitment", None)
        if commitment is not None:
            commitment.close()
        storage: MixedStorage | None = getattr(event.assoc, "vna_storage", None)
        if storage is not None:
            storage.close()
            storage.tell(self._archive.audit, "aborted" if event.event is evt.EVT_ABORTED else "released")

    def _serve(self, assoc: Association, message: Any, context_id: int) -> bool:
        """Answer a request, or say that it is none of ours."""
        context = next((one for one in assoc.accepted_contexts if one.context_id == context_id), None)
        if context is None:
            return False
        commitment: CommitmentService | None = getattr(assoc, "vna_commitment", None)
        if commitment is not None and commitment.serve(message, context):
            return True
        # pynetdicom leaves a request without an identifier unanswered: here it is refused.
        if not isinstance(message, C_FIND | C_MOVE | C_GET) or message.MessageID is None:
            return False
        serve = self._service(assoc, message, str(context.abstract_syntax))
        if serve is None:
            return False
        request = _request(assoc, message, context)
        operation: Operation | None = None
        cancelled = assoc.dimse.cancel_req.pop(request.message_id, None) is not None
        try:
            with Takeover(assoc, self._settings.idle_seconds) as taken:
                operation = Operation(taken.channel, request, cancelled=cancelled)
                serve(operation)
        except ChannelClosedError as error:
            log.info("%s: %s before the request was served", request.calling, error)
        except Exception:  # the association was aborted: a message was cut short
            log.exception("%s: request given up", request.calling)
        finally:
            assoc.dimse.cancel_req.clear()
            if operation is not None:
                audited.served(self._archive, operation, str(assoc.requestor.address or ""))
        return True

    def _service(self, assoc: Association, message: Any, sop_class: str) -> Callable[[Operation], None] | None:
        if isinstance(message, C_FIND) and sop_class in FIND_ROOTS:
            service = QueryService(self._archive.index, self._settings.ae_title)
            accepted = query.accept_extended(assoc.requestor.sop_class_extended.get(UID(sop_class), b""))
            options = query.negotiated(accepted)
            return lambda operation: service.serve(operation, options)
        retrieval = RetrieveService(self._archive.index, self._archive.objects, self._settings, self._decode)
        if isinstance(message, C_MOVE) and sop_class in MOVE_ROOTS:
            return retrieval.move
        if isinstance(message, C_GET) and sop_class in GET_ROOTS:
            contexts = {
                (str(one.abstract_syntax), str(one.transfer_syntax[0])): int(one.context_id or 0)
                for one in assoc.accepted_contexts
                if one.as_scu
            }
            return lambda operation: retrieval.get(operation, contexts)
        return None


def _request(assoc: Association, message: Any, context: PresentationContext) -> Request:
    fields = {C_FIND: commands.C_FIND_RQ, C_MOVE: commands.C_MOVE_RQ, C_GET: commands.C_GET_RQ}
    identifier = message.Identifier
    return Request(
        fields[type(message)],
        int(context.context_id or 0),
        str(context.abstract_syntax),
        str(context.transfer_syntax[0]),
        int(message.MessageID),
        int(message.Priority or 0),
        identifier.getvalue() if identifier is not None else b"",
        str(getattr(message, "MoveDestination", None) or "").strip(),
        str(assoc.requestor.ae_title).strip(),
    )
