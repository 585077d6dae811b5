"""An audit repository that takes syslog messages: over TLS (RFC 5425), or by UDP (RFC 5426), each as RFC 5424 says.

Syslog knows no acknowledgement. Over TLS a batch goes by a connection of its
own, which is closed from this side; the repository's own close tells that it
has read to the end. Without that the batch counts as not sent and comes again:
the repository may see an event twice, told by its id, but loses none.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import closing

from vna.config import SyslogSettings
from vna.domain.audit import AuditEvent, Outcome
from vna.domain.errors import UnavailableError
from vna.domain.origin import iso_utc
from vna.security.audit_xml import to_xml
from vna.security.tls import client_context
from vna.security.tls_files import TlsFiles

log = logging.getLogger(__name__)

_FACILITY = 10  # security and authorisation messages (PS3.15 A.6)
_NOTICE, _WARNING = 5, 4
_MESSAGE_ID = "DICOM+RFC3881"
_DATAGRAM_MOST = 65_507
_NOT_PRINTED = re.compile(r"[^\x21-\x7e]")
_BOM = b"\xef\xbb\xbf"


def message(event: AuditEvent, host: str, site: str = "") -> bytes:
    """Return an event as a SYSLOG-MSG (RFC 5424 6) with its AuditMessage (PS3.15 A.6)."""
    severity = _NOTICE if event.outcome is Outcome.SUCCESS else _WARNING
    name = _NOT_PRINTED.sub("_", host)[:255] or "-"
    head = f"<{_FACILITY * 8 + severity}>1 {iso_utc(event.when_us)} {name} vna {os.getpid()} {_MESSAGE_ID}"
    # 32473 is the enterprise number for examples and documentation (RFC 5612).
    data = f'[event@32473 id="{event.id}"]'
    return f"{head} {data} ".encode() + _BOM + to_xml(event, host, site)


def frame(content: bytes) -> bytes:
    """Return a message with its length before it (RFC 5425 4.3)."""
    return b"%d %b" % (len(content), content)


class SyslogSender:
    """Sends events to the configured repository.

    Parameters
    ----------
    settings
        Where and how.
    host
        Name of this system: HOSTNAME, and AuditSourceID.
    site
        AuditEnterpriseSiteID.
    """

    def __init__(self, settings: SyslogSettings, host: str, site: str = "") -> None:
        self._settings = settings
        self._host = host
        self._site = site

    def send(self, events: Sequence[AuditEvent]) -> None:
        """Send events.

        Raises
        ------
        UnavailableError
            The repository does not answer, or did not read to the end.
        ConfigurationError
            Certificate, key or CA cannot be used.
        """
        messages = [message(event, self._host, self._site) for event in events]
        try:
            if self._settings.transport == "udp":
                self._send_datagrams(messages)
            else:
                self._send_stream(b"".join(frame(each) for each in messages))
        except OSError as error:  # ssl.SSLError is one
            where = f"{self._settings.host}:{self._settings.port}"
            raise UnavailableError(f"audit repository {where}: {error}") from error

    def _send_stream(self, data: bytes) -> None:
        settings = self._settings
        context = self._context()
        plain = socket.create_connection((settings.host, settings.port), settings.timeout_seconds)
        with closing(plain), closing(context.wrap_socket(plain, server_hostname=settings.host)) as secured:
            secured.sendall(data)
            try:
                secured.unwrap()
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return  # closed in order, without a closure alert of its own
            except ssl.SSLSyscallError as error:
                raise UnavailableError(f"the connection broke: {error}") from error
            except OSError as error:
                # OpenSSL tells of an end of file as an error without a number.
                if error.errno not in {0, None} or isinstance(error, TimeoutError):
                    raise

    def _context(self) -> ssl.SSLContext:
        settings = self._settings
        setting = "VNA_AUDIT__SYSLOG"
        return client_context(
            TlsFiles(setting, settings.certificate, settings.key, settings.ca, ca_setting=f"{setting}__CA")
        )

    def _send_datagrams(self, messages: Sequence[bytes]) -> None:
        settings = self._settings
        family, kind, protocol, _name, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as sender:
            for each in messages:
                if len(each) > _DATAGRAM_MOST:
                    log.error("audit: a message of %d bytes is too long for a datagram and was not sent", len(each))
                    continue
                sender.sendto(each, address)
