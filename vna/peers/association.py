"""An association as requestor (PS3.8 7.1, 9.3): negotiated, used, released or aborted, on a blocking socket."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Self

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification, SCP_SCU_RoleSelectionNegotiation

from vna.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from vna.domain.errors import UnavailableError
from vna.peers import commands
from vna.peers.channel import ABORT, RELEASE_RP, RELEASE_RQ, Channel, ChannelClosedError
from vna.peers.destination import Destination
from vna.security.tls_errors import explain

MAX_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 7.1.1.13: odd IDs from 1 to 255)."""

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_OWN_MAX = 64 << 10
_ASSOCIATE_RQ, _ASSOCIATE_AC, _ASSOCIATE_RJ = 0x01, 0x02, 0x03
# Items and sub-items (PS3.8 9.3.2, D.1; PS3.7 D.3.3).
_APPLICATION, _CONTEXT, _ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x10, 0x20, 0x30, 0x40
_USER_INFORMATION, _MAXIMUM_LENGTH, _IMPLEMENTATION_CLASS, _IMPLEMENTATION_VERSION = 0x50, 0x51, 0x52, 0x55
_ROLE_SELECTION = 0x54
_SHORTEST_AC, _LONGEST_AC = 74, 1 << 20
_SHORT = struct.Struct(">BxIBBBB")
# The first byte of a TLS record that is an alert (RFC 8446 5.1): an answer in TLS to what was not.
_TLS_ALERT = 0x15

Proposal = tuple[str, tuple[str, ...]]
"""A presentation context to propose: SOP class, transfer syntaxes."""

Roles = Mapping[str, tuple[bool, bool]]
"""By SOP class, whether the requestor is SCU, and whether it is SCP (PS3.7 D.3.3.4)."""


class RejectedError(UnavailableError):
    """The association was rejected (PS3.8 9.3.4).

    Attributes
    ----------
    reason
        In words.
    code
        Result, source and reason.
    """

    def __init__(self, name: str, pdu: bytes) -> None:
        self.reason = _reason(pdu)
        self.code = tuple(pdu[7:10])
        super().__init__(f"{name} rejects the association: {self.reason}")


class AbortedError(UnavailableError):
    """The association request was answered by an A-ABORT (PS3.8 9.3.8)."""


class Association:
    """An association as requestor.

    Parameters
    ----------
    destination
        Whom to associate with.
    calling
        Own AE title.
    proposals
        Presentation contexts, at most :data:`MAX_CONTEXTS`.
    timeout
        Longest wait in seconds for an answer, and for the peer to take data.
    connect_timeout
        Longest wait for the connection.
    roles
        Roles to propose; the others are the default, SCU.

    Attributes
    ----------
    accepted
        Context ID by SOP class and accepted transfer syntax.
    roles
        Roles that the peer has answered for.

    Raises
    ------
    UnavailableError
        No connection, no answer, or rejected; says which.
    ConfigurationError
        A certificate, key or authority of this side cannot be used.
    """

    def __init__(
        self,
        destination: Destination,
        calling: str,
        proposals: Sequence[Proposal],
        *,
        timeout: float,
        connect_timeout: float = 30.0,
        roles: Roles | None = None,
    ) -> None:
        self._name = destination.ae_title
        self._last_id = 0
        self.accepted: dict[tuple[str, str], int] = {}
        self.roles: dict[str, tuple[bool, bool]] = {}
        self._socket = destination.connect(connect_timeout)
        try:
            self._socket.settimeout(timeout)
            self._channel = self._negotiate(destination, calling, proposals, roles or {})
        except BaseException:
            self._socket.close()
            raise

    def _negotiate(
        self, destination: Destination, calling: str, proposals: Sequence[Proposal], roles: Roles
    ) -> Channel:
        try:
            # A peer that has closed already may have said why: that is to be read.
            with suppress(ConnectionError, ssl.SSLEOFError):
                self._socket.sendall(associate_request(destination.ae_title, calling, proposals, roles))
            kind, answer = self._read_answer()
        except OSError as error:
            # Since TLS 1.3 a server looks at the client's certificate after the client has done its handshake.
            why = explain(error) if isinstance(error, ssl.SSLError) else str(error)
            raise UnavailableError(f"{self._name}: no answer to the association request: {why}") from error
        if kind == _ASSOCIATE_RJ:
            raise RejectedError(self._name, answer)
        if kind != _ASSOCIATE_AC:
            raise AbortedError(f"{self._name} aborts the association")
        try:
            primitive = _accepted(answer)
        except Exception as error:  # pynetdicom raises what it meets in a broken PDU
            raise UnavailableError(f"{self._name}: broken answer to the association request: {error}") from error
        for result in primitive.presentation_context_definition_results_list:
            number = (result.context_id or 0) // 2
            if result.result == 0 and result.transfer_syntax and number < len(proposals):
                self.accepted[proposals[number][0], str(result.transfer_syntax[0])] = result.context_id or 0
        peer_max = 0
        for item in primitive.user_information:
            if isinstance(item, MaximumLengthNotification):
                peer_max = item.maximum_length_received or 0
            elif isinstance(item, SCP_SCU_RoleSelectionNegotiation):
                self.roles[str(item.sop_class_uid)] = (bool(item.scu_role), bool(item.scp_role))
        return Channel(self._socket, peer_max, _OWN_MAX)

    def _read_answer(self) -> tuple[int, bytes]:
        head = self._read(6)
        if head[0] == _TLS_ALERT:
            raise OSError("it speaks TLS on that port, and was spoken to without")
        length = int.from_bytes(head[2:6], "big")
        if length > _LONGEST_AC:
            raise OSError(f"a PDU of {length} bytes")
        return head[0], head + self._read(length)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            got = self._socket.recv(size - len(data))
            if not got:
                unsaid = not data and not isinstance(self._socket, ssl.SSLSocket)
                raise OSError("connection closed" + ("; does it speak TLS there?" if unsaid else ""))
            data += got
        return bytes(data)

    def exchange(
        self, context_id: int, field: int, request: bytes, data: BinaryIO | None = None, length: int = 0
    ) -> int:
        """Send a request and return the status of its response.

        Parameters
        ----------
        context_id
            One of :attr:`accepted`.
        field
            Command Field of the request (PS3.7 E.1).
        request
            Encoded command set, with the message ID of :meth:`next_id`.
        data, length
            Encoded data set: a stream where it begins, and its length.

        Raises
        ------
        UnavailableError
            The association is over.
        """
        try:
            self._channel.send(context_id, request, data, length)
            while True:
                answer = self._channel.receive().command
                if answer.field == field | commands.RESPONSE and answer.number(commands.RESPONDED_TO) == self._last_id:
                    return answer.number(commands.STATUS)
        except (ChannelClosedError, EOFError) as error:
            self.abort()
            raise UnavailableError(f"{self._name}: {error}") from error

    def next_id(self) -> int:
        """Return the message ID of the next request."""
        self._last_id = self._last_id % 0xFFFF + 1
        return self._last_id

    def release(self) -> None:
        """Release the association (PS3.8 9.3.6) and close the connection."""
        with suppress(OSError, ValueError):
            self._socket.sendall(_SHORT.pack(RELEASE_RQ, 4, 0, 0, 0, 0))
            while self._read_answer()[0] not in {RELEASE_RP, ABORT}:
                pass
        self._socket.close()

    def abort(self) -> None:
        """Send an A-ABORT (PS3.8 9.3.8) and close the connection."""
        with suppress(OSError, ValueError):
            self._socket.sendall(_SHORT.pack(ABORT, 4, 0, 0, 0, 0))
        self._socket.close()

    def __enter__(self) -> Self:
        """Return the association."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, or abort it after an error."""
        if kind is None:
            self.release()
        else:
            self.abort()


def _accepted(pdu: bytes) -> A_ASSOCIATE:
    if len(pdu) < _SHORTEST_AC:
        raise ValueError(f"an A-ASSOCIATE-AC of {len(pdu)} bytes")
    acceptance = A_ASSOCIATE_AC()
    acceptance.decode(pdu)
    return acceptance.to_primitive()


def _reason(pdu: bytes) -> str:
    try:
        rejection = A_ASSOCIATE_RJ()
        rejection.decode(pdu)
        return str(rejection.reason_str)
    except Exception:  # noqa: BLE001 - as above; the bytes then tell the reason
        return pdu[6:].hex()


def associate_request(called: str, calling: str, proposals: Sequence[Proposal], roles: Roles | None = None) -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8 9.3.2). A UID that is none is proposed even so: the archive has what it has."""
    contexts = [
        _item(
            _CONTEXT,
            bytes((2 * number + 1, 0, 0, 0))
            + _item(_ABSTRACT_SYNTAX, _ascii(sop_class, 64))
            + b"".join(_item(_TRANSFER_SYNTAX, _ascii(syntax, 64)) for syntax in syntaxes),
        )
        for number, (sop_class, syntaxes) in enumerate(proposals)
    ]
    user = (
        _item(_MAXIMUM_LENGTH, struct.pack(">I", _OWN_MAX))
        + _item(_IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode())
        + b"".join(_role(uid, role) for uid, role in (roles or {}).items())
        + _item(_IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION_NAME.encode())
    )
    body = (
        struct.pack(">HH16s16s32x", 1, 0, _ascii(called, 16).ljust(16), _ascii(calling, 16).ljust(16))
        + _item(_APPLICATION, _APPLICATION_CONTEXT.encode())
        + b"".join(contexts)
        + _item(_USER_INFORMATION, user)
    )
    return struct.pack(">BxI", _ASSOCIATE_RQ, len(body)) + body


def _role(sop_class: str, role: tuple[bool, bool]) -> bytes:
    raw = _ascii(sop_class, 64)
    return _item(_ROLE_SELECTION, struct.pack(">H", len(raw)) + raw + bytes(role))


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _ascii(text: str, longest: int) -> bytes:
    return text.encode("ascii", "replace")[:longest]
