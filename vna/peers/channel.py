"""A DIMSE channel: messages over an established association, on a blocking socket (PS3.8 9.3.5, annex E).

Data sets are never held: outgoing ones are read in pieces from a stream, and an
incoming one is an identifier, or too long. Memory use is one buffer.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import BinaryIO

from vna.peers.commands import Command

P_DATA = 0x04
RELEASE_RQ = 0x05
RELEASE_RP = 0x06
ABORT = 0x07

_PDU = struct.Struct(">BxI")
_PDV = struct.Struct(">BxIIBB")
_PDV_ITEM = struct.Struct(">IBB")
_HEADERS = _PDV.size  # PDU header, PDV length, context ID, control header
_BATCH = 256 << 10
_SLACK = 64  # a few peers count the PDU header in
_MOST_COMMAND = 64 << 10
MOST_DATA = 1 << 20
"""Longest incoming data set: identifiers and event reports are small."""


class ChannelClosedError(Exception):
    """The association is over.

    Attributes
    ----------
    pdu
        The PDU that ended it (A-ABORT, A-RELEASE-RQ), header included; empty if
        the connection failed or the peer broke the protocol.
    """

    def __init__(self, message: str, pdu: bytes = b"") -> None:
        super().__init__(message)
        self.pdu = pdu


class ProtocolError(ChannelClosedError):
    """The peer sent what the protocol does not allow: it is to be sent an A-ABORT."""


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message received."""

    context_id: int
    command: Command
    data: bytes


class Channel:
    """Sends and receives DIMSE messages.

    Parameters
    ----------
    connection
        Connected socket, plain or TLS; its time-out is that of each call here.
    peer_max
        Maximum length that the peer announced (PS3.8 D.1), 0 for none.
    own_max
        Maximum length announced to the peer.
    """

    def __init__(self, connection: socket.socket, peer_max: int, own_max: int) -> None:
        self._socket = connection
        self._quick = connection.family in {socket.AF_INET, socket.AF_INET6} and hasattr(socket, "TCP_QUICKACK")
        # Fragments are of even length; a peer that announces less than one of two bytes needs gets these even so.
        self._room = max(2, ((peer_max or _BATCH) - 6) & ~1)
        self._room = min(self._room, _BATCH - _HEADERS)
        self._limit = (own_max or 1 << 24) + _SLACK
        self._out = bytearray(_BATCH)
        self._in = bytearray()
        self._command = bytearray()
        self._data = bytearray()
        self._current: tuple[int, Command] | None = None

    def send(self, context_id: int, command: bytes, data: BinaryIO | bytes | None = None, length: int = 0) -> None:
        """Send one message.

        Parameters
        ----------
        context_id
            Presentation context.
        command
            Encoded command set.
        data
            Encoded data set, or a stream that is read from where it stands.
        length
            For a stream, how many bytes of it.

        Raises
        ------
        ChannelClosedError
            The connection failed, or the peer took nothing for too long.
        EOFError
            The stream had less than ``length``; the message is broken, the
            association must be aborted.
        """
        filled = self._frame(context_id, command, 0, 0x01)
        if isinstance(data, bytes):
            filled = self._frame(context_id, data, filled, 0x00)
        elif data is not None:
            filled = self._frame_stream(context_id, data, length, filled)
        self._flush(filled)

    def send_raw(self, pdu: bytes) -> None:
        """Send a whole PDU."""
        try:
            self._socket.sendall(pdu)
        except (OSError, ValueError) as error:
            raise ChannelClosedError(f"connection lost: {error}") from error

    def _flush(self, filled: int) -> int:
        if filled:
            with memoryview(self._out) as view:
                try:
                    self._socket.sendall(view[:filled])
                except (OSError, ValueError) as error:
                    raise ChannelClosedError(f"connection lost: {error}") from error
        return 0

    def _frame(self, context_id: int, data: bytes, filled: int, kind: int) -> int:
        room = self._room
        for start in range(0, len(data) or 1, room):
            piece = data[start : start + room]
            if filled + _HEADERS + len(piece) > len(self._out):
                filled = self._flush(filled)
            last = 0x02 if start + room >= len(data) else 0
            _PDV.pack_into(self._out, filled, P_DATA, len(piece) + 6, len(piece) + 2, context_id, kind | last)
            filled += _HEADERS
            self._out[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _frame_stream(self, context_id: int, data: BinaryIO, length: int, filled: int) -> int:
        out, room = self._out, self._room
        left = length
        readinto = getattr(data, "readinto", None)
        with memoryview(out) as view:
            while True:
                size = min(room, left)
                if filled + _HEADERS + size > len(out):
                    filled = self._flush(filled)
                left -= size
                _PDV.pack_into(out, filled, P_DATA, size + 6, size + 2, context_id, 0x00 if left else 0x02)
                filled += _HEADERS
                end = filled + size
                while filled < end:
                    if readinto is not None:
                        got = readinto(view[filled:end])
                    else:
                        piece = data.read(end - filled)
                        got = len(piece)
                        view[filled : filled + got] = piece
                    if not got:
                        raise EOFError(f"data set ends {left + end - filled} bytes early")
                    filled += got
                if not left:
                    return filled

    def pending(self) -> bool:
        """Say whether something has arrived, without waiting."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError) as error:
            raise ChannelClosedError(f"connection lost: {error}") from error

    def receive(self) -> Message:
        """Return the next message; waits for it.

        Raises
        ------
        ChannelClosedError
            A-ABORT, A-RELEASE-RQ, end or failure of the connection, or silence.
        ProtocolError
            Anything that is not a message of sensible length.
        """
        while True:
            kind, content = self._read_pdu()
            if kind != P_DATA:
                if kind in {RELEASE_RQ, ABORT}:
                    what = "aborted by the peer" if kind == ABORT else "released by the peer"
                    raise ChannelClosedError(what, _PDU.pack(kind, len(content)) + content)
                raise ProtocolError(f"unexpected PDU of type {kind:02X}")
            found = self._take(content)
            if found is not None:
                return found

    def _take(self, content: bytes) -> Message | None:
        """Take the PDVs of one PDU; only one message can end in it, since requests are answered one by one."""
        found: Message | None = None
        place = 0
        while place < len(content):
            if len(content) - place < _PDV_ITEM.size:
                raise ProtocolError("PDV header is cut off")
            length, context_id, control = _PDV_ITEM.unpack_from(content, place)
            if length < 2 or length - 2 > len(content) - place - _PDV_ITEM.size:
                raise ProtocolError("PDV length exceeds its PDU")
            piece = content[place + _PDV_ITEM.size : place + 4 + length]
            place += 4 + length
            found = self._fragment(context_id, control, piece) or found
        return found

    def _fragment(self, context_id: int, control: int, piece: bytes) -> Message | None:
        if control & 0x01:
            self._command += piece
            if len(self._command) > _MOST_COMMAND:
                raise ProtocolError("command set is too long")
            if not control & 0x02:
                return None
            try:
                command = Command.decode(bytes(self._command))
            except ValueError as error:
                raise ProtocolError(str(error)) from error
            self._command.clear()
            if not command.has_data_set:
                return Message(context_id, command, b"")
            self._current = (context_id, command)
            return None
        if self._current is None:
            raise ProtocolError("data set without a command")
        self._data += piece
        if len(self._data) > MOST_DATA:
            raise ProtocolError("data set is longer than any identifier")
        if not control & 0x02:
            return None
        message = Message(*self._current, bytes(self._data))
        self._current = None
        self._data.clear()
        return message

    def _read_pdu(self) -> tuple[int, bytes]:
        self._fill(_PDU.size)
        kind, length = _PDU.unpack_from(self._in)
        if length > self._limit:
            raise ProtocolError(f"PDU of {length} bytes is longer than announced")
        self._fill(_PDU.size + length)
        content = bytes(self._in[_PDU.size : _PDU.size + length])
        del self._in[: _PDU.size + length]
        return kind, content

    def _fill(self, size: int) -> None:
        while len(self._in) < size:
            try:
                # Never more than this PDU: what follows it may be for somebody else who reads this socket.
                got = self._socket.recv(size - len(self._in))
                if self._quick:
                    self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            except TimeoutError as error:
                raise ChannelClosedError("the peer was silent for too long") from error
            except (OSError, ValueError) as error:
                raise ChannelClosedError(f"connection lost: {error}") from error
            if not got:
                raise ChannelClosedError("connection closed by the peer")
            self._in += got
