"""What a failed handshake means, and what to do about it, for whoever connects the two sides."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

# Alerts of the other side (RFC 8446 6.2) by OpenSSL's names for them: it has looked at our certificate.
_REFUSED: Mapping[str, str] = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority that issued our certificate: enter that there",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not take our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired, it says: renew it, or set its clock",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate is revoked, it says",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "our certificate is of a kind that it does not take",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants to see a certificate of ours, and none is configured",
    "TLSV1_ALERT_ACCESS_DENIED": "our certificate is known to it, but not let in",
    "TLSV1_ALERT_DECRYPT_ERROR": "it cannot verify our signature",
}
_NOTHING_SHARED: Mapping[str, str] = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it shares no cipher suite with us, or wants a certificate of ours",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak TLS 1.2 or 1.3",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "it wants other cipher suites",
    "UNSUPPORTED_PROTOCOL": "it does not speak TLS 1.2 or 1.3",
    "VERSION_TOO_LOW": "it does not speak TLS 1.2 or 1.3",
    "NO_SHARED_CIPHER": "it shares no cipher suite with us (TLS 1.2 with ECDHE and AES-GCM, or TLS 1.3, is needed)",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "it takes no signature that our certificate's key can make",
    "WRONG_SIGNATURE_TYPE": "its certificate has a key or a signature that is too weak",
    "UNEXPECTED_MESSAGE": "it does not keep to the protocol",
}
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"

# X509_V_ERR_*: no path to an authority that is trusted.
_UNTRUSTED = frozenset({2, 18, 19, 20, 21, 24, 27})
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = frozenset({62, 63, 64})
_WEAK = frozenset({66, 67, 68})


def explain(error: OSError | ValueError) -> str:
    """Return in words why a handshake failed; "it" is the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification(error)
    if isinstance(error, TimeoutError):
        return "it did not answer in time: does it speak TLS on that port?"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError | BrokenPipeError):
        return "it closed the connection during the handshake: it may speak plain DICOM, or refuse our certificate"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if reason in _NO_TLS:
            return "it speaks no TLS"
        if reason == _NO_CERTIFICATE:
            return "it shows no certificate"
        known = _REFUSED.get(reason) or _NOTHING_SHARED.get(reason)
        return f"{known} ({reason})" if known else f"{reason.replace('_', ' ').lower() or error}"
    return str(error)


def distrusted(error: OSError | ValueError) -> bool:
    """Say whether the other side has not proven who it is: its certificate is none of those trusted, or missing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return isinstance(error, ssl.SSLError) and error.reason == _NO_CERTIFICATE


def _verification(error: ssl.SSLCertVerificationError) -> str:
    code, message = error.verify_code, error.verify_message
    if code in _UNTRUSTED:
        return f"its certificate is not trusted: no authority that is configured here has issued it ({message})"
    if code == _EXPIRED:
        return "its certificate has expired"
    if code == _NOT_YET:
        return "its certificate is not valid yet: compare the clocks"
    if code in _OTHER_NAME:
        return f"its certificate is for another name ({message})"
    if code in _WEAK:
        return f"its certificate is too weak ({message})"
    return f"its certificate is not accepted: {message}"
