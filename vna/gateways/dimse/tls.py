"""The handshake of a connection that has come in (PS3.15 B.12)."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from vna.gateways.dimse.pdu import PeerClosedError
from vna.security import tls_errors
from vna.security.tls_peer import PeerCertificate

_LINGER_SECONDS = 1.0


class HandshakeError(Exception):
    """There is no TLS on a connection; the message says why, and "it" is the peer.

    Attributes
    ----------
    alert
        Whether the peer has failed to prove who it is.
    """

    def __init__(self, message: str, *, alert: bool) -> None:
        super().__init__(message)
        self.alert = alert


def secure(
    connection: socket.socket, context: ssl.SSLContext, seconds: float
) -> tuple[ssl.SSLSocket, PeerCertificate | None]:
    """Do the handshake as the server.

    Parameters
    ----------
    connection
        The accepted socket; closed if the handshake fails.
    context
        That of the listener.
    seconds
        Longest time for all of it.

    Returns
    -------
    SSLSocket
        The connection.
    PeerCertificate, optional
        What the peer has shown, where it must.

    Raises
    ------
    PeerClosedError
        The peer went before it said anything, as whoever asks whether the port answers does.
    HandshakeError
        It came to nothing.
    """
    until = time.monotonic() + seconds
    connection.settimeout(seconds)
    try:
        begun = connection.recv(1, socket.MSG_PEEK)
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        connection.close()
        raise HandshakeError(tls_errors.explain(error), alert=False) from error
    if not begun:
        secured.close()
        raise PeerClosedError("closed before a handshake")
    try:
        secured.settimeout(max(0.1, until - time.monotonic()))
        secured.do_handshake()
        return secured, PeerCertificate.of(secured)
    except (OSError, ValueError) as error:
        _close(secured)
        raise HandshakeError(tls_errors.explain(error), alert=tls_errors.distrusted(error)) from error


def _close(connection: ssl.SSLSocket) -> None:
    """Close once the peer has done so, or a moment has passed.

    To close with bytes unread would reset the connection, and the peer might never
    see the alert that tells it what is wrong.
    """
    until = time.monotonic() + _LINGER_SECONDS
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not socket.socket.recv(connection, 1 << 16):
                break
    with contextlib.suppress(OSError):
        connection.close()
