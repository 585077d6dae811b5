"""HTTP of uvicorn, with bounds to what it takes of a stranger, and the certificate that a client has shown."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vna.security.tls_peer import PeerCertificate

CERTIFICATE = "client_certificate"
"""Where requests have it in their state: SHA-256 in hex digits, missing if none was shown."""

MOST_HEAD_BYTES = 128 << 10
"""Bytes of a request's line and fields; a little more may pass, as they come in pieces."""
HEAD_SECONDS = 20.0
"""A connection has so long for the head of a request, and for what it still sends after it has its answer."""
_CLOSE_SECONDS = 1.0
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"error":"too-large","detail":"the request line and the header fields are too long"}'
)


class GuardedProtocol(HttpToolsProtocol):
    """Ends connections whose requests do not begin, or begin without end, before there is anybody to ask who it is.

    Notes the client's certificate in the state of each request of a connection.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Note the certificate, which TLS has verified before there is a connection."""
        super().connection_made(transport)
        self._head_bytes = self._progress = 0
        self._in_body = False
        self._limit: asyncio.TimerHandle | None = None
        self._within(HEAD_SECONDS)
        connection = transport.get_extra_info("ssl_object")
        shown = PeerCertificate.of(connection) if connection is not None else None
        if shown is not None:
            self.app_state = {**self.app_state, CERTIFICATE: shown.fingerprint}

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time limit."""
        self._no_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; refuse fields without end, before a body or behind one (trailers)."""
        progress = self._progress
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._progress == progress else 0
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; refuse a handshake whose lines are too long for who takes it."""
        super().handle_websocket_upgrade()
        taken = getattr(self.transport.get_protocol(), "handshake_initiated", True)
        if not taken and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._within(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Let the request have its time."""
        self._in_body = True
        self._no_limit()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._progress += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next request."""
        self._in_body = False
        self._progress += 1
        self._no_limit()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait no more for what nobody reads."""
        super().on_response_complete()
        if self._in_body:
            self._within(HEAD_SECONDS)

    def shutdown(self) -> None:
        """Close the connection when its request is answered."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(_CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        """Wait no longer for who does not answer the close of TLS, but for who still takes what was sent."""
        if self.transport.get_write_buffer_size():
            self.loop.call_later(_CLOSE_SECONDS, self._abort)
        else:
            self.transport.abort()

    def _within(self, seconds: float) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(seconds, self._too_late)

    def _no_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _too_late(self) -> None:
        self._limit = None
        if self.cycle is not None and not self.cycle.response_complete:
            # The head of the next request is late, while this one is still answered.
            self._within(HEAD_SECONDS)
        elif not self.transport.is_closing():
            self.transport.close()
