"""Storage commitment as SCP (PS3.4 J.3): N-ACTION is answered when the request is durable, the result is told later.

On the same association while it is open and the requestor says nothing else: for
a moment after the answer. Otherwise whoever works on what is open
(:mod:`vna.commitment.deliver`) reports on an association of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from vna.bootstrap import Archive
from vna.commitment.decision import Result
from vna.commitment.deliver import taken
from vna.commitment.report import event_report
from vna.commitment.request import (
    COMMITMENT_CLASS,
    COMMITMENT_INSTANCE,
    MOST_BYTES,
    Request,
    understand,
)
from vna.commitment.state import DECIDING, DELIVERED, State
from vna.commitment.waiting import oldest_of, see
from vna.dicom.dataset import decode_identifier, encode_answer
from vna.domain.errors import ArchiveError, ConflictError, InvalidInputError, OutOfResourcesError
from vna.domain.origin import now_us
from vna.gateways.dimse import audited, stats
from vna.gateways.dimse.contexts import Supported
from vna.gateways.dimse.statuses import LONGEST_COMMENT, SUCCESS
from vna.gateways.dimse.takeover import Takeover
from vna.peers import commands
from vna.peers.channel import Channel, ChannelClosedError
from vna.peers.commands import Value

log = logging.getLogger(__name__)

# Statuses of an N-ACTION response (PS3.7 10.1.4.1.10, annex C).
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_CLASS = 0x0118
NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213

_REQUEST_ACTION = 1
# What the work itself may take beyond the wait, until others take it up: a gateway that was killed had it so long.
_MARGIN_SECONDS = 3.0
_ANSWER_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 0.5


class _InterruptedError(Exception):
    """The time is over, or the requestor has said something else."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    comment: str


@dataclass(frozen=True, slots=True)
class _Told:
    """A report that was sent on the requestor's association, and waits for its response."""

    state: State
    message_id: int


class CommitmentService:
    """Serves storage commitment on one association.

    Parameters
    ----------
    archive
        The archive.
    assoc
        An association that is established, as acceptor.
    """

    def __init__(self, archive: Archive, assoc: Association) -> None:
        self._archive = archive
        self._assoc = assoc
        self._settings = archive.settings.dimse
        self._caller = str(assoc.requestor.ae_title).strip()
        self._address = str(assoc.requestor.address or "")
        self._told: list[_Told] = []
        self._last_id = 0

    def serve(self, message: Any, context: PresentationContext) -> bool:
        """Take a message if it belongs to storage commitment; say whether it does."""
        if isinstance(message, N_EVENT_REPORT) and message.MessageIDBeingRespondedTo is not None:
            self._answered(int(message.MessageIDBeingRespondedTo), int(message.Status or 0))
            return True
        if str(context.abstract_syntax) != COMMITMENT_CLASS or not isinstance(message, N_ACTION):
            return False
        if message.MessageID is None:
            return False
        try:
            with Takeover(self._assoc, self._settings.idle_seconds) as taken_over:
                self._act(taken_over.channel, message, context)
        except ChannelClosedError as error:
            log.info("%s: %s while storage commitment was served", self._caller, error)
        return True

    def close(self) -> None:
        """Leave what was reported and not answered to others: the association is over."""
        told, self._told = self._told, []
        for each in told:
            self._leave(each.state, "the association ended before the report was answered")

    def _act(self, channel: Channel, message: Any, context: PresentationContext) -> None:
        begun = time.monotonic()
        information = message.ActionInformation.getvalue() if message.ActionInformation is not None else b""
        request: Request | None = None
        state: State | None = None
        found = self._read(message, information, str(context.transfer_syntax[0]))
        seconds = self._archive.settings.commitment.same_association_seconds
        if isinstance(found, Request):
            try:
                request, state = self._archive.commitments.receive(found, seconds + _MARGIN_SECONDS)
                refusal = None
            except Exception as error:
                log.exception("storage commitment of %s cannot be kept", self._caller)
                full = isinstance(error, OutOfResourcesError)
                comment = "the request cannot be kept, try again later"
                refusal = _Refusal(RESOURCE_LIMITATION if full else PROCESSING_FAILURE, comment)
        else:
            refusal = found
        status = refusal.status if refusal is not None else SUCCESS
        stats.COMMITMENTS.labels(f"{status:04X}").inc()
        audited.commitment_asked(self._archive, self._caller, self._address, request, status)
        _respond(channel, message, context, status, refusal.comment if refusal is not None else "")
        if refusal is not None:
            log.warning("storage commitment of %s refused: %04X %s", self._caller, status, refusal.comment)
        elif request is not None:
            log.info("storage commitment of %s: %d instances", self._caller, len(request.references))
            if state is not None:
                self._tell_now(channel, request, state, context, begun + seconds)

    def _read(self, message: Any, information: bytes, transfer_syntax: str) -> Request | _Refusal:
        if str(message.RequestedSOPClassUID) != COMMITMENT_CLASS:
            return _Refusal(NO_SUCH_CLASS, "SOP class is not of the presentation context")
        if str(message.RequestedSOPInstanceUID) != COMMITMENT_INSTANCE:
            return _Refusal(NO_SUCH_INSTANCE, f"the instance is {COMMITMENT_INSTANCE}")
        if message.ActionTypeID != _REQUEST_ACTION:
            return _Refusal(NO_SUCH_ACTION, f"the only action is {_REQUEST_ACTION}")
        if len(information) > MOST_BYTES:
            return _Refusal(RESOURCE_LIMITATION, f"Action Information of more than {MOST_BYTES} bytes")
        try:
            transaction, references = understand(decode_identifier(information, transfer_syntax))
        except OutOfResourcesError as error:
            return _Refusal(RESOURCE_LIMITATION, str(error))
        except (InvalidInputError, ValueError) as error:
            return _Refusal(INVALID_ARGUMENT, str(error))
        settings = self._archive.settings
        storage = Supported.configured(self._settings.private_sop_classes, ()).storage
        return Request(
            self._caller,
            self._address,
            transaction,
            references,
            now_us(),
            settings.spool.id,
            tuple(sorted({each.sop_class for each in references} - storage)),
        )

    def _tell_now(
        self, channel: Channel, request: Request, state: State, context: PresentationContext, until: float
    ) -> None:
        """Report on this association, if the result is known in time and nothing else is said on it."""
        commitments = self._archive.commitments
        records = commitments.records
        try:
            result = self._result(channel, request, until) if state.phase == DECIDING else records.result(state)
            if result is None:
                records.change(state, state.put_off(now_us(), waiting=True))
                return
            now = now_us()
            # Before it is sent, so that nobody else sends it meanwhile.
            if state.phase == DECIDING:
                state = records.change(state, state.decided(now, result).leased(now, _ANSWER_SECONDS), result)
            else:
                state = records.change(state, state.leased(now, _ANSWER_SECONDS))
            if self._goes_on(channel):
                self._leave(state, "the requestor went on before the result was known")
                return
            self._send(channel, request, state, result, context)
        except _InterruptedError:
            self._leave(state, "")
        except ConflictError:
            log.info("storage commitment of %s is in the hand of somebody else", self._caller)
        except ArchiveError as error:
            # What is not done is due again when the lease is over.
            log.warning("storage commitment of %s waits: %s", self._caller, error)

    def _result(self, channel: Channel, request: Request, until: float) -> Result | None:
        """Return what becomes of the instances, ``None`` if some are waited for when the time is over."""

        def step() -> None:
            if time.monotonic() >= until or self._goes_on(channel):
                raise _InterruptedError

        oldest = oldest_of(self._archive.spool)
        own: Callable[[], Any] = lambda: see(self._archive.settings.spool.id, oldest)  # noqa: E731 - a name for it says less
        pause = _FIRST_PAUSE
        while True:
            step()
            result = self._archive.commitments.examine(request, step, own)
            if result is not None:
                return result
            end = min(until, time.monotonic() + pause)
            while time.monotonic() < end and not self._goes_on(channel):
                time.sleep(0.02)
            if end >= until:
                return None
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _goes_on(self, channel: Channel) -> bool:
        """Whether the requestor has said something else, or pynetdicom had read it before."""
        return channel.pending() or not self._assoc.dimse.msg_queue.empty()

    def _send(
        self, channel: Channel, request: Request, state: State, result: Result, context: PresentationContext
    ) -> None:
        self._last_id = self._last_id % 0xFFFF + 1
        event_type, information = event_report(request, result, self._settings.ae_title)
        command = commands.event_report_request(COMMITMENT_CLASS, COMMITMENT_INSTANCE, self._last_id, event_type)
        # Its response comes as any message does: the requestor may say something else before.
        self._told.append(_Told(state, self._last_id))
        channel.send(int(context.context_id or 0), command, encode_answer(information, str(context.transfer_syntax[0])))

    def _answered(self, message_id: int, status: int) -> None:
        told = next((each for each in self._told if each.message_id == message_id), None)
        if told is None:
            return
        self._told.remove(told)
        if not taken(status):
            self._leave(told.state, f"{self._caller} answers the report with {status:04X}")
            return
        try:
            self._archive.commitment_deliverer.end(told.state, DELIVERED)
        except ArchiveError as error:
            log.warning("storage commitment of %s may be reported twice: %s", self._caller, error)

    def _leave(self, state: State, why: str) -> None:
        """Leave a transaction to whoever works on what is open, who may begin at once."""
        commitments = self._archive.commitments
        now = now_us()
        if state.phase == DECIDING:
            to = state.given_back(now, why)
        else:
            to = state.not_told(now, why, commitments.patience.report, at_once=True)
        try:
            commitments.records.change(state, to)
        except ArchiveError as error:
            log.info("storage commitment of %s: %s", self._caller, error)


def _respond(channel: Channel, message: Any, context: PresentationContext, status: int, comment: str) -> None:
    """Send an N-ACTION-RSP (PS3.7 10.3.5.2)."""
    elements: list[tuple[int, Value]] = [
        (commands.AFFECTED_SOP_CLASS, str(message.RequestedSOPClassUID or COMMITMENT_CLASS)),
        (commands.COMMAND_FIELD, commands.N_ACTION_RQ | commands.RESPONSE),
        (commands.RESPONDED_TO, int(message.MessageID)),
        (commands.DATA_SET_TYPE, commands.NO_DATA_SET),
        (commands.STATUS, status),
    ]
    if comment:
        elements.append((commands.ERROR_COMMENT, comment.replace("\\", "/")[:LONGEST_COMMENT]))
    elements.append((commands.AFFECTED_SOP_INSTANCE, str(message.RequestedSOPInstanceUID or COMMITMENT_INSTANCE)))
    if message.ActionTypeID is not None:
        elements.append((commands.ACTION_TYPE, int(message.ActionTypeID)))
    channel.send(int(context.context_id or 0), commands.encode(elements))
