"""The receive path: an association for storage and verification, as one blocking loop.

Fragments go from the receive buffer to the spool file as they come; the
response is sent when the spool has said that the bytes are durable.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from dataclasses import dataclass

from vna.domain.errors import ArchiveError, OutOfResourcesError, UnavailableError
from vna.domain.origin import Origin
from vna.gateways.dimse import stats
from vna.gateways.dimse.command import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    CANNOT_UNDERSTAND,
    INVALID_SOP_INSTANCE,
    MAX_COMMAND,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    RESPONSE,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    UNRECOGNISED_OPERATION,
    Command,
    encode_reply,
    parse_command,
)
from vna.gateways.dimse.contexts import VERIFICATION
from vna.gateways.dimse.negotiation import AssociateRequest, Context
from vna.gateways.dimse.part10 import file_meta, file_meta_tail
from vna.gateways.dimse.pdu import (
    ABORT,
    ABORT_INVALID_PARAMETER,
    ABORT_NO_REASON,
    ABORT_UNEXPECTED_PARAMETER,
    ABORT_UNEXPECTED_PDU,
    P_DATA,
    PROVIDER,
    RELEASE_RQ,
    USER,
    PduError,
    PduStream,
    PeerClosedError,
    encode_abort,
    encode_command,
    encode_release_reply,
)
from vna.ingest.receive import Incoming, Receiver

log = logging.getLogger(__name__)

_PDV = struct.Struct(">IBB")
# Below this, to copy a fragment behind the file meta is cheaper than a second write.
_JOIN = 1 << 16


@dataclass(slots=True)
class _Message:
    """A request whose data set is being received; without ``incoming`` it is passed over."""

    command: Command
    context: Context
    incoming: Incoming | None = None
    head: bytes = b""
    status: int = SUCCESS
    comment: str = ""


class StorageAssociation:
    """Serves one established association until it ends.

    Parameters
    ----------
    stream
        The connection, its A-ASSOCIATE-AC sent.
    request
        The A-ASSOCIATE-RQ.
    contexts
        Accepted presentation contexts by ID.
    receiver
        The way into the archive.
    address
        Network address of the peer.
    max_object_bytes
        Largest data set accepted.
    close_seconds
        How long to wait for the peer to close after the last PDU.
    """

    def __init__(
        self,
        stream: PduStream,
        request: AssociateRequest,
        contexts: dict[int, Context],
        receiver: Receiver,
        *,
        address: str,
        max_object_bytes: int,
        close_seconds: float,
    ) -> None:
        self._stream = stream
        self._contexts = contexts
        self._receiver = receiver
        self._max_object = max_object_bytes
        self._close_seconds = close_seconds
        self._max_length = request.max_length
        self._origin = Origin("dimse", request.calling, request.called, address)
        self._tails = {
            number: file_meta_tail(context.transfer_syntax, request.calling, request.called)
            for number, context in contexts.items()
        }
        self._command = bytearray()
        self._command_context = 0
        self._message: _Message | None = None
        self._stopping = False
        self.instances = 0
        self.refused = 0

    def stop(self) -> None:
        """End after the instance under way, or now if there is none. For another thread to call."""
        self._stopping = True
        if self._message is None:
            # Wakes the loop, which then aborts; the way out stays open.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._stream.connection, socket.SHUT_RD)

    def run(self) -> str:
        """Serve until the association ends; return how it ended."""
        try:
            return self._loop()
        except PduError as error:
            self._finish(encode_abort(PROVIDER, error.reason))
            return f"aborted: {error}"
        except PeerClosedError as error:
            if self._stopping:
                self._finish(encode_abort(USER, ABORT_NO_REASON))
                return "aborted: the archive stops"
            self._finish(encode_abort(PROVIDER, ABORT_NO_REASON) if error.silent else b"", 1.0)
            return f"lost: {error}"
        finally:
            self._discard()

    def _loop(self) -> str:
        read = self._stream.read
        while True:
            kind, body = read()
            if kind == P_DATA:
                self._data(body)
                if self._stopping and self._message is None:
                    raise PeerClosedError("the archive stops")
            elif kind == RELEASE_RQ:
                self._discard()
                self._finish(encode_release_reply())
                return "released"
            elif kind == ABORT:
                self._discard()
                self._finish(b"", 1.0)
                return "aborted by the peer"
            else:
                raise PduError(f"PDU of type 0x{kind:02X} within an association", ABORT_UNEXPECTED_PDU)

    def _finish(self, last: bytes, seconds: float | None = None) -> None:
        self._discard()
        self._stream.finish(self._close_seconds if seconds is None else seconds, last)

    def _discard(self) -> None:
        """Leave nothing of an instance that is not complete."""
        message, self._message = self._message, None
        if message is not None and message.incoming is not None:
            with contextlib.suppress(OSError):
                message.incoming.close()

    def _data(self, body: memoryview) -> None:
        """Take the presentation data values of a P-DATA-TF (PS3.8 9.3.5.1, E.2)."""
        at, size = 0, len(body)
        if not size:
            raise PduError("P-DATA-TF without a value", ABORT_INVALID_PARAMETER)
        while at < size:
            if size - at < 6:
                raise PduError("P-DATA-TF: bytes left over", ABORT_INVALID_PARAMETER)
            length, number, control = _PDV.unpack_from(body, at)
            at += 4
            if not 2 <= length <= size - at:
                raise PduError(f"P-DATA-TF: a value of {length} bytes", ABORT_INVALID_PARAMETER)
            fragment = body[at + 2 : at + length]
            at += length
            if control & 1:
                self._take_command(number, fragment, last=bool(control & 2))
            else:
                self._take_data(number, fragment, last=bool(control & 2))

    def _take_command(self, number: int, fragment: memoryview, *, last: bool) -> None:
        if self._message is not None:
            raise PduError("a command within a data set", ABORT_UNEXPECTED_PARAMETER)
        if number not in self._contexts:
            raise PduError(f"presentation context {number} was not accepted", ABORT_INVALID_PARAMETER)
        command = self._command
        if command and number != self._command_context:
            raise PduError("fragments of a command in two contexts", ABORT_INVALID_PARAMETER)
        if len(command) + len(fragment) > MAX_COMMAND:
            raise PduError(f"a command of more than {MAX_COMMAND} bytes", ABORT_INVALID_PARAMETER)
        self._command_context = number
        command += fragment
        if last:
            parsed = parse_command(command)
            command.clear()
            self._begin(parsed, self._contexts[number])

    def _begin(self, command: Command, context: Context) -> None:
        """Act on a complete command."""
        if command.field & RESPONSE:
            raise PduError("a response to a request that was not made", ABORT_UNEXPECTED_PARAMETER)
        message = _Message(command, context)
        if command.field == C_STORE_RQ and context.abstract_syntax != VERIFICATION:
            self._begin_store(message)
        elif command.field == C_CANCEL_RQ:
            # Storage has nothing to cancel, and C-CANCEL no response (PS3.7 9.3.2.3).
            return
        elif command.field == C_ECHO_RQ and context.abstract_syntax == VERIFICATION:
            pass
        else:
            message.status = UNRECOGNISED_OPERATION
            message.comment = f"{context.abstract_syntax} has no operation {command.field:#06x}"
        if command.has_data_set:
            self._message = message
        else:
            self._reply(message)

    def _begin_store(self, message: _Message) -> None:
        command = message.command
        uid = command.sop_instance
        if not command.has_data_set:
            message.status, message.comment = CANNOT_UNDERSTAND, "no data set"
        elif not command.sop_class or not uid:
            message.status, message.comment = CANNOT_UNDERSTAND, "no Affected SOP Class or Instance UID"
        elif command.sop_class != message.context.abstract_syntax.encode("ascii", "replace"):
            message.status, message.comment = SOP_CLASS_NOT_SUPPORTED, "SOP class is not of the presentation context"
        elif len(uid) > 64 or not uid.isascii() or not uid.decode("ascii").isprintable():
            # Any text of a UID's length is kept: what is wrong with it is found where a person sees it.
            message.status, message.comment = INVALID_SOP_INSTANCE, "Affected SOP Instance UID is no UID"
        else:
            message.head = file_meta(command.sop_class, uid, self._tails[message.context.id])
            try:
                message.incoming = self._receiver.begin(self._origin)
            except (ArchiveError, OSError) as error:
                self._fail(message, error)

    def _take_data(self, number: int, fragment: memoryview, *, last: bool) -> None:
        message = self._message
        if message is None:
            raise PduError("a data set without a command", ABORT_UNEXPECTED_PARAMETER)
        if number != message.context.id:
            raise PduError("a data set in another context than its command", ABORT_INVALID_PARAMETER)
        incoming = message.incoming
        if incoming is not None and fragment:
            try:
                if message.head:
                    head, message.head = message.head, b""
                    if len(fragment) <= _JOIN:
                        incoming.write(b"".join((head, fragment)))
                    else:
                        incoming.write(head)
                        incoming.write(fragment)
                else:
                    incoming.write(fragment)
            except (ArchiveError, OSError) as error:
                self._fail(message, error)
            else:
                if incoming.length > self._max_object:
                    self._fail(message, OutOfResourcesError(f"over the limit of {self._max_object} bytes"))
        if last:
            self._message = None
            self._end(message)

    def _end(self, message: _Message) -> None:
        """Make an instance durable, then answer."""
        incoming = message.incoming
        if incoming is None:
            self._reply(message)
            return
        with contextlib.closing(incoming):
            if message.head:
                message.status, message.comment = CANNOT_UNDERSTAND, "the data set is empty"
            else:
                try:
                    length = incoming.commit().length
                except (ArchiveError, OSError) as error:
                    self._fail(message, error)
                else:
                    self.instances += 1
                    stats.INSTANCES.inc()
                    stats.BYTES.inc(length)
            self._reply(message)

    def _fail(self, message: _Message, error: Exception) -> None:
        """Have the rest of the data set passed over, and a failure answered."""
        log.warning("C-STORE from %s refused: %s", self._origin.calling, error)
        incoming, message.incoming = message.incoming, None
        if incoming is not None:
            with contextlib.suppress(OSError):
                incoming.close()
        out = isinstance(error, OutOfResourcesError | UnavailableError | OSError)
        message.status = OUT_OF_RESOURCES if out else PROCESSING_FAILURE
        # The message may name folders of this machine; the peer needs to know no more than this.
        message.comment = "out of resources, try again later" if out else "processing failure"

    def _reply(self, message: _Message) -> None:
        if message.status != SUCCESS:
            self.refused += 1
            stats.REFUSED.labels(f"{message.status:04X}").inc()
        reply = encode_reply(message.command, message.status, message.comment)
        self._stream.send(encode_command(message.context.id, reply, self._max_length))
