"""Protocol data units of the DICOM upper layer (PS3.8 9.3): reading them, within limits, and writing them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time

# PDU types (PS3.8 9.3.1).
ASSOCIATE_RQ = 0x01
ASSOCIATE_AC = 0x02
ASSOCIATE_RJ = 0x03
P_DATA = 0x04
RELEASE_RQ = 0x05
RELEASE_RP = 0x06
ABORT = 0x07

# Source and reason of an A-ABORT (PS3.8 table 9-26).
USER = 0
PROVIDER = 2
ABORT_NO_REASON = 0
ABORT_UNRECOGNISED_PDU = 1
ABORT_UNEXPECTED_PDU = 2
ABORT_UNRECOGNISED_PARAMETER = 4
ABORT_UNEXPECTED_PARAMETER = 5
ABORT_INVALID_PARAMETER = 6

MAX_REQUEST = 1 << 20
"""Longest A-ASSOCIATE-RQ that is read: 128 contexts of every transfer syntax there is take about 150 KiB."""

SHORT_PDU = 4
"""Length of A-ASSOCIATE-RJ, A-RELEASE-RQ, A-RELEASE-RP and A-ABORT."""

# A few peers count the six bytes of the PDU header, or of a PDV header, into what they may send.
SLACK = 64

HEADER = 6
_HEADER = struct.Struct(">BxI")
_PDATA = struct.Struct(">BxIIBB")
_RELEASE_RP = _HEADER.pack(RELEASE_RP, SHORT_PDU) + bytes(4)
# Until this much is wanted of a PDU, whatever has arrived is taken with it: a small instance costs one call.
_GREEDY = 1 << 16


class PduError(Exception):
    """A PDU that the protocol does not allow. Says what the A-ABORT that answers it tells."""

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message)
        self.reason = reason


class PeerClosedError(Exception):
    """The peer closed the connection, or was silent for too long."""

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


def encode_abort(source: int, reason: int) -> bytes:
    """Return an A-ABORT PDU (PS3.8 9.3.8)."""
    return _HEADER.pack(ABORT, SHORT_PDU) + bytes((0, 0, source, reason))


def encode_release_reply() -> bytes:
    """Return an A-RELEASE-RP PDU (PS3.8 9.3.7)."""
    return _RELEASE_RP


def encode_command(context_id: int, command: bytes, max_length: int) -> bytes:
    """Return the P-DATA-TF PDUs of a command set (PS3.8 9.3.5, E.2).

    Parameters
    ----------
    context_id
        Presentation context.
    command
        The encoded command set.
    max_length
        The peer's maximum length (PS3.8 D.1), 0 for none.
    """
    size = len(command)
    if not max_length or size + HEADER <= max_length:
        return _PDATA.pack(P_DATA, size + 6, size + 2, context_id, 0x03) + command
    # A peer that announces less than a fragment of two bytes needs gets these all the same.
    room = max(2, (max_length - HEADER) & ~1)
    out = bytearray()
    for start in range(0, size, room):
        piece = command[start : start + room]
        last = 0x02 if start + room >= size else 0
        out += _PDATA.pack(P_DATA, len(piece) + 6, len(piece) + 2, context_id, 0x01 | last) + piece
    return bytes(out)


class PduStream:
    """A connection, read PDU by PDU into one buffer that never grows with what a peer sends.

    Parameters
    ----------
    connection
        The connected socket, plain or TLS.
    max_pdu
        Maximum length announced (PS3.8 D.1).
    """

    def __init__(self, connection: socket.socket, max_pdu: int) -> None:
        self.connection = connection
        self.max_pdu = max_pdu
        self._limit = max_pdu + SLACK
        self._tls = isinstance(connection, ssl.SSLSocket)
        self._quick = connection.family in {socket.AF_INET, socket.AF_INET6} and hasattr(socket, "TCP_QUICKACK")
        self._buffer = memoryview(bytearray(self._limit + HEADER + _GREEDY))
        self._start = 0
        self._end = 0
        if connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def set_silence(self, seconds: float) -> None:
        """Set how long the peer may be silent before :class:`PeerClosedError`."""
        if self._tls:
            self.connection.settimeout(seconds)
            return
        # The kernel's own time-outs spare a poll before each receive.
        self.connection.settimeout(None)
        microseconds = max(1000, int(seconds * 1_000_000))  # 0 would be for ever
        value = struct.pack("@ll", *divmod(microseconds, 1_000_000))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def read_request(self, seconds: float) -> bytes:
        """Return the first PDU, header included, if it is an A-ASSOCIATE-RQ.

        Parameters
        ----------
        seconds
            The ARTIM timer (PS3.8 9.1.5): time until all of it must be here.

        Raises
        ------
        PduError
            It is another PDU, or longer than ``MAX_REQUEST``.
        PeerClosedError
            Closed, aborted, or the timer ended.
        """
        until = time.monotonic() + seconds
        head = self._receive_until(HEADER, until)
        kind, length = _HEADER.unpack(head)
        if kind == ABORT:
            raise PeerClosedError("aborted before a request")
        if kind != ASSOCIATE_RQ:
            unknown = not 1 <= kind <= ABORT
            reason = ABORT_UNRECOGNISED_PDU if unknown else ABORT_UNEXPECTED_PDU
            raise PduError(f"PDU of type 0x{kind:02X} where an A-ASSOCIATE-RQ is due", reason)
        if length > MAX_REQUEST:
            raise PduError(f"A-ASSOCIATE-RQ of {length} bytes", ABORT_INVALID_PARAMETER)
        return head + self._receive_until(length, until)

    def _receive_until(self, count: int, until: float) -> bytes:
        parts = []
        while count:
            left = until - time.monotonic()
            if left <= 0:
                raise PeerClosedError("no A-ASSOCIATE-RQ before the ARTIM timer ended", silent=True)
            self.connection.settimeout(left)
            try:
                part = self.connection.recv(min(count, 1 << 16))
            except TimeoutError as error:
                raise PeerClosedError("no A-ASSOCIATE-RQ before the ARTIM timer ended", silent=True) from error
            except (OSError, ValueError) as error:
                raise PeerClosedError(str(error)) from error
            if not part:
                raise PeerClosedError("closed before an A-ASSOCIATE-RQ")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read(self) -> tuple[int, memoryview]:
        """Return type and content of the next PDU; the content is valid until the next call.

        Raises
        ------
        PduError
            Its type is unknown or its length over the limit of its type. Nothing
            of the content was read then.
        PeerClosedError
            Closed, failed, or silent for too long.
        """
        if self._end - self._start < HEADER:
            self._fill(HEADER)
        start = self._start
        kind, length = _HEADER.unpack_from(self._buffer, start)
        if kind == P_DATA:
            if length > self._limit:
                raise PduError(f"P-DATA-TF of {length} bytes, {self.max_pdu} announced", ABORT_INVALID_PARAMETER)
        elif kind in {ASSOCIATE_RQ, ASSOCIATE_AC}:
            raise PduError(f"PDU of type 0x{kind:02X} within an association", ABORT_UNEXPECTED_PDU)
        elif not ASSOCIATE_RQ <= kind <= ABORT:
            raise PduError(f"PDU of type 0x{kind:02X}", ABORT_UNRECOGNISED_PDU)
        elif length != SHORT_PDU:
            raise PduError(f"PDU of type 0x{kind:02X} with {length} bytes", ABORT_INVALID_PARAMETER)
        size = HEADER + length
        if self._end - self._start < size:
            self._fill(size)
        start = self._start
        self._start = start + size
        return kind, self._buffer[start + HEADER : start + size]

    def _fill(self, size: int) -> None:
        """Have ``size`` bytes in the buffer from the start on."""
        buffer = self._buffer
        start, end = self._start, self._end
        if start and (start == end or start + size > len(buffer)):
            held = end - start
            if held:
                buffer[:held] = buffer[start:end]
            start, end = 0, held
        receive = self.connection.recv_into
        try:
            while end - start < size:
                want = size - (end - start)
                if want < _GREEDY:
                    want = min(_GREEDY, len(buffer) - end)
                count = receive(buffer[end:], want)
                if not count:
                    raise PeerClosedError("closed by the peer")
                end += count
                if self._quick:
                    self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (TimeoutError, BlockingIOError) as error:
            raise PeerClosedError("silent for too long", silent=True) from error
        except (OSError, ValueError) as error:
            raise PeerClosedError(str(error)) from error
        finally:
            self._start, self._end = start, end

    def send(self, data: bytes) -> None:
        """Send bytes; raises ``PeerClosedError``."""
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise PeerClosedError(str(error)) from error

    def finish(self, seconds: float, last: bytes = b"") -> None:
        """Send the last PDU and wait for the peer to close, at most ``seconds`` (PS3.8 9.2, Sta13), then close.

        To close with bytes unread would reset the connection, and the peer might never see the last PDU.
        """
        until = time.monotonic() + seconds
        with contextlib.suppress(OSError, ValueError):
            self.connection.settimeout(min(seconds, 5.0))
            if last:
                self.connection.sendall(last)
            if not self._tls:
                self.connection.shutdown(socket.SHUT_WR)
            while (left := until - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv_into(self._buffer):
                    break
        with contextlib.suppress(OSError):
            self.connection.close()
