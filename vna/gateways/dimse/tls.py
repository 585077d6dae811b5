"""TLS for a listener (PS3.15 B.9 and later profiles: TLS 1.2 at least)."""

from __future__ import annotations

import ssl

from vna.config import TlsSettings
from vna.domain.errors import ConfigurationError


def server_context(settings: TlsSettings) -> ssl.SSLContext | None:
    """Return the context of a listener, or None while TLS is off.

    Raises
    ------
    ConfigurationError
        A file is missing or not what it should be; the message names the setting.
    """
    if settings.certificate is None or settings.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        message = f"VNA_DIMSE__TLS__CERTIFICATE, VNA_DIMSE__TLS__KEY: {settings.certificate}, {settings.key}: {error}"
        raise ConfigurationError(message) from error
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except (OSError, ssl.SSLError) as error:
            message = f"VNA_DIMSE__TLS__CLIENT_CA: {settings.client_ca}: {error}"
            raise ConfigurationError(message) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
