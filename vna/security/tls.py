"""TLS as BCP 195 asks for it (RFC 8996, RFC 9325; PS3.15 B.12): one kind of context for listeners, one for clients.

Versions 1.2 and 1.3, with the four suites that RFC 9325 4.2 recommends for 1.2
and those of 1.3; no compression, no renegotiation, no session tickets, whose key
would undo forward secrecy for as long as the process runs (RFC 9325 3.4).
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from vna.domain.errors import ConfigurationError
from vna.security.tls_files import Stamp, TlsFiles, check_authorities, check_identity, first_certificate

log = logging.getLogger(__name__)

SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Cipher suites for TLS 1.2, the preferred first, as OpenSSL names them."""

# Refuses what has less than 112 bits of security: short keys, SHA-1 signatures, also in the peer's certificates.
_LEVEL = "@SECLEVEL=2"
_LOOK_SECONDS = 1.0
_ENDS_SOON = timedelta(days=21)
_REMIND_SECONDS = 24 * 3600.0


def server_context(files: TlsFiles, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """Return the context of a listener, which takes up renewed files by itself.

    New connections get what the files hold within a second of their change;
    files that are wrong are told in the log, and the ones before stay in use.

    Parameters
    ----------
    files
        Certificate and key; with ``ca`` set, clients must show a certificate of it.
    alpn
        Application protocols (RFC 7301).

    Raises
    ------
    ConfigurationError
        A file is missing or not what it should be; the message names the setting.
    """
    return _Renewed(files, alpn).context


def client_context(files: TlsFiles, *, only: bool = False) -> ssl.SSLContext:
    """Return the context of a client: verifies the server's certificate and its host name.

    Parameters
    ----------
    files
        Certificate and key to show, if there are any; authorities, those of the system if there are none.
    only
        Trust the first certificate in ``ca`` and no other, under whatever name it is met.

    Raises
    ------
    ConfigurationError
        A file is missing or not what it should be; the message names the setting.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if files.certificate is not None:
        check_identity(files, server=False)
        _load(context, files)
    if only:
        assert files.ca is not None
        context.load_verify_locations(cadata=first_certificate(files.ca, files.ca_name))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    elif files.ca is not None:
        _trust(context, files)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _context(side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join((*SUITES, _LEVEL)))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    return context


def _make(files: TlsFiles, alpn: Sequence[str]) -> tuple[ssl.SSLContext, datetime]:
    """Return a context for a listener, and when its certificate ends."""
    ends = check_identity(files)
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    if alpn:
        context.set_alpn_protocols(list(alpn))
    _load(context, files)
    if files.ca is not None:
        _trust(context, files)
        context.verify_mode = ssl.CERT_REQUIRED
    return context, ends


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    assert files.certificate is not None
    try:
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ssl.SSLError) as error:
        message = f"{files.setting}__CERTIFICATE, {files.setting}__KEY: {files.certificate}, {files.key}: {error}"
        raise ConfigurationError(message) from error


def _trust(context: ssl.SSLContext, files: TlsFiles) -> None:
    assert files.ca is not None
    check_authorities(files.ca, files.ca_name)
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{files.ca_name}: {files.ca}: {error}") from error


class _Renewed:
    """Keeps the context of a listener in step with its files.

    The listener has one context for good. At each handshake OpenSSL asks it for the
    server name, and there the connection is given the context that is current.
    """

    def __init__(self, files: TlsFiles, alpn: Sequence[str]) -> None:
        self._files = files
        self._alpn = alpn
        self._lock = threading.Lock()
        self._stamp: Stamp | None = self._look()
        self._current, self._ends = _make(files, alpn)
        self._reminded = 0.0
        self.context = self._current
        self.context.sni_callback = self._choose
        self._remind(time.monotonic())
        self._due = time.monotonic() + _LOOK_SECONDS
        self._told = ""

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._newest()

    def _newest(self) -> ssl.SSLContext:
        now = time.monotonic()
        # Whoever finds that another looks already takes what there is.
        if now < self._due or not self._lock.acquire(blocking=False):
            return self._current
        try:
            self._due = now + _LOOK_SECONDS
            stamp = self._look()
            if stamp is None or stamp != self._stamp:
                self._renew(stamp)
            self._remind(now)
            return self._current
        finally:
            self._lock.release()

    def _look(self) -> Stamp | None:
        try:
            return self._files.stamp()
        except OSError:
            return None

    def _renew(self, stamp: Stamp | None) -> None:
        try:
            self._current, self._ends = _make(self._files, self._alpn)
        except ConfigurationError as error:
            # In the midst of a renewal, or wrong for good: tried again, told once.
            if str(error) != self._told:
                log.error("the certificate in use is kept: %s", error)  # noqa: TRY400  # the message says it all
            self._told = str(error)
            return
        self._stamp = stamp
        self._reminded = 0.0
        self._told = ""
        log.info("%s: new certificate, key or CA taken up", self._files.setting)

    def _remind(self, now: float) -> None:
        """Tell once a day of a certificate that ends soon, or has ended."""
        if self._ends - datetime.now(UTC) > _ENDS_SOON or (self._reminded and now - self._reminded < _REMIND_SECONDS):
            return
        self._reminded = now
        what = "has expired" if self._ends < datetime.now(UTC) else "ends"
        ends = f"{self._ends:%Y-%m-%d %H:%M} UTC"
        log.warning("%s__CERTIFICATE: %s %s on %s", self._files.setting, self._files.certificate, what, ends)
