"""The certificate that the other side of a connection has shown, and whether it is the one that a name is bound to."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

_FINGERPRINT = re.compile(r"(?:sha-?256[:=])?\s*((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.IGNORECASE)
_SHA256 = "sha256:"


def binding(text: str) -> str:
    """Return what a certificate is bound by in one spelling: a SHA-256 fingerprint in hex, or a name.

    Raises
    ------
    ValueError
        It is empty.
    """
    text = text.strip()
    if not text:
        message = "the name or fingerprint of a certificate is empty"
        raise ValueError(message)
    found = _FINGERPRINT.fullmatch(text)
    return f"{_SHA256}{found[1].replace(':', '').lower()}" if found else text


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A verified certificate.

    Attributes
    ----------
    fingerprint
        SHA-256 of its DER form, in hex.
    names
        Its subject's common names, and its alternative names whatever their kind.
    """

    fingerprint: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, connection: ssl.SSLSocket | ssl.SSLObject) -> PeerCertificate | None:
        """Return what was shown; ``None`` if nothing was, or nothing that was verified."""
        shown = connection.getpeercert()
        encoded = connection.getpeercert(binary_form=True)
        if not shown or encoded is None:
            return None
        subject: Iterable[tuple[tuple[str, str], ...]] = shown.get("subject", ())  # type: ignore[assignment]
        alternative: Iterable[tuple[str, str]] = shown.get("subjectAltName", ())  # type: ignore[assignment]
        names = [value for part in subject for kind, value in part if kind == "commonName"]
        names += [value for _kind, value in alternative if isinstance(value, str)]  # a directory name is none
        return cls(hashlib.sha256(encoded).hexdigest(), tuple(dict.fromkeys(names)))

    def is_one_of(self, bindings: Iterable[str]) -> bool:
        """Say whether it is one of certificates as :func:`binding` writes them; names are told apart by case."""
        return any(
            each == f"{_SHA256}{self.fingerprint}" if each.startswith(_SHA256) else each in self.names
            for each in bindings
        )

    def __str__(self) -> str:
        name = ", ".join(map(repr, self.names[:4])) or "without a name"
        return f"{name} ({_SHA256}{self.fingerprint})"
