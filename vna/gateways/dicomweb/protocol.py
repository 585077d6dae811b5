"""HTTP of uvicorn, and with it the certificate that the client of a connection has shown."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vna.security.tls_peer import PeerCertificate

CERTIFICATE = "client_certificate"
"""Where requests have it in their state: SHA-256 in hex digits, missing if none was shown."""


class CertifiedProtocol(HttpToolsProtocol):
    """Notes the client's certificate in the state of each request of a connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Note the certificate, which TLS has verified before there is a connection."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        shown = PeerCertificate.of(connection) if connection is not None else None
        if shown is not None:
            self.app_state = {**self.app_state, CERTIFICATE: shown.fingerprint}
