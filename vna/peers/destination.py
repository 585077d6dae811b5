"""A remote application entity that listens: how it is reached, by TCP or TLS."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from vna.config import PeerSettings, TlsSettings
from vna.domain.errors import UnavailableError
from vna.security.tls import client_context
from vna.security.tls_errors import explain
from vna.security.tls_files import TlsFiles


@dataclass(frozen=True, slots=True)
class Destination:
    """A remote application entity that listens.

    Attributes
    ----------
    ae_title
        Its title.
    peer
        Where it listens, whether with TLS, and whose certificate it must have.
    tls
        What this side shows, and the authorities for peers that have none of their own.
    pinned
        PEM file of the very certificate that it must show, whatever the name in it.
    """

    ae_title: str
    peer: PeerSettings
    tls: TlsSettings = field(default_factory=TlsSettings)
    pinned: Path | None = None

    @property
    def where(self) -> str:
        """Title and address, for messages."""
        return f"{self.ae_title} at {self.peer.host}:{self.peer.port}"

    def connect(self, timeout: float) -> socket.socket:
        """Return a connected socket, its peer verified where TLS is spoken.

        Raises
        ------
        UnavailableError
            Nobody listens, or the handshake failed; says on which side, and why.
        ConfigurationError
            A certificate, key or authority of this side cannot be used.
        """
        # Before anything is sent: what is wrong on this side is no fault of the peer's.
        context = self._context() if self.peer.tls else None
        try:
            connection = socket.create_connection((self.peer.host, self.peer.port), timeout)
        except OSError as error:
            raise UnavailableError(f"{self.where}: no connection: {error}") from error
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                return context.wrap_socket(connection, server_hostname=self._name)
        except (OSError, ValueError) as error:
            connection.close()
            raise UnavailableError(f"{self.where}: no TLS: {explain(error)}{self._hint(error)}") from error
        return connection

    @property
    def _name(self) -> str:
        return self.peer.tls_name or self.peer.host

    @property
    def _files(self) -> TlsFiles:
        own = self.pinned or self.peer.ca
        setting = f"VNA_DIMSE__PEERS (dimse.peers.{self.ae_title}.ca)" if own else ""
        return TlsFiles(
            "VNA_DIMSE__TLS", self.tls.certificate, self.tls.key, own or self.tls.client_ca, ca_setting=setting
        )

    def _context(self) -> ssl.SSLContext:
        return client_context(self._files, only=self.pinned is not None)

    def _hint(self, error: OSError | ValueError) -> str:
        if not isinstance(error, ssl.SSLCertVerificationError):
            return ""
        trusted = self._files.ca or "the system's CAs"
        return f"; trusted: {trusted} (ca), name: {self._name} (tls_name)"
