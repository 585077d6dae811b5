"""One C-FIND, C-MOVE or C-GET being answered (PS3.7 9.1.2 to 9.1.4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from vna.domain.records import Location
from vna.gateways.dimse.statuses import LONGEST_COMMENT, Failure
from vna.peers import commands
from vna.peers.channel import Channel, ProtocolError
from vna.peers.commands import Value


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.

    Attributes
    ----------
    field
        Command Field of the request (PS3.7 E.1).
    context_id, sop_class, transfer_syntax
        Presentation context.
    message_id, priority
        As in the request.
    identifier
        Encoded identifier.
    destination
        Move Destination of a C-MOVE.
    calling
        Calling AE title of the association.
    """

    field: int
    context_id: int
    sop_class: str
    transfer_syntax: str
    message_id: int
    priority: int
    identifier: bytes
    destination: str
    calling: str


@dataclass(slots=True)
class Counts:
    """Sub-operations (PS3.4 C.4.2.1.6, C.4.3.1.6): their sum is always the number of instances."""

    remaining: int
    completed: int = 0
    failed: int = 0
    warning: int = 0


class Operation:
    """Answers one request on a channel, and watches for its C-CANCEL.

    Parameters
    ----------
    channel
        The channel of the association.
    request
        What was asked.
    cancelled
        Whether a C-CANCEL came with the request.

    Attributes
    ----------
    status
        Status of the last response; ``None`` while there was none.
    sent
        Instances that a receiver has taken.
    """

    def __init__(self, channel: Channel, request: Request, *, cancelled: bool = False) -> None:
        self.channel = channel
        self.request = request
        self._cancelled = cancelled
        self.status: int | None = None
        self.sent: list[Location] = []

    def cancelled(self) -> bool:
        """Say whether the requestor has cancelled the operation; does not wait.

        Raises
        ------
        ProtocolError
            Another request came before this one was answered: more than one at
            a time was not negotiated (PS3.7 D.3.3.3).
        """
        while not self._cancelled and self.channel.pending():
            self.note(self.channel.receive().command)
        return self._cancelled

    def note(self, command: commands.Command) -> None:
        """Take a message that is not a response to a sub-operation; raises ``ProtocolError``."""
        if command.field != commands.C_CANCEL_RQ:
            raise ProtocolError(f"message {command.field:04X} while an operation is under way")
        if command.number(commands.RESPONDED_TO) == self.request.message_id:
            self._cancelled = True

    def respond(
        self,
        status: int,
        data: bytes | None = None,
        *,
        counts: Counts | None = None,
        remaining: bool = False,
        failure: Failure | None = None,
    ) -> None:
        """Send a response.

        Parameters
        ----------
        status
            Status (0000,0900).
        data
            Encoded identifier.
        counts
            Numbers of sub-operations to tell.
        remaining
            Whether the number of those remaining is told: while pending, and when cancelled.
        failure
            Error Comment and Offending Element to tell.
        """
        self.status = status
        request = self.request
        elements: list[tuple[int, Value]] = [
            (commands.AFFECTED_SOP_CLASS, request.sop_class),
            (commands.COMMAND_FIELD, request.field | commands.RESPONSE),
            (commands.RESPONDED_TO, request.message_id),
            (commands.DATA_SET_TYPE, commands.DATA_SET if data else commands.NO_DATA_SET),
            (commands.STATUS, status),
        ]
        if failure is not None and failure.offending is not None:
            tag = struct.pack("<HH", failure.offending >> 16, failure.offending & 0xFFFF)
            elements.append((commands.OFFENDING_ELEMENT, tag))
        if failure is not None and failure.comment:
            elements.append((commands.ERROR_COMMENT, failure.comment.replace("\\", "/")[:LONGEST_COMMENT]))
        if counts is not None:
            # US: more sub-operations than it can count are told as the most it can (PS3.7 E.1).
            numbers: list[tuple[int, Any]] = [(commands.REMAINING, counts.remaining)] if remaining else []
            numbers += [
                (commands.COMPLETED, counts.completed),
                (commands.FAILED, counts.failed),
                (commands.WARNING, counts.warning),
            ]
            elements += [(element, min(number, 0xFFFF)) for element, number in numbers]
        self.channel.send(request.context_id, commands.encode(elements), data or None)

    def fail(self, failure: Failure) -> None:
        """Send a final response without identifier or counts."""
        self.respond(failure.status, failure=failure)
