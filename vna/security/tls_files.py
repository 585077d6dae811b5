"""PEM files of TLS: read, and checked before anybody is served with them (RFC 9325 4.5; PS3.15 B.12)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vna.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

LEAST_RSA_BITS = 2048
LEAST_CURVE_BITS = 256

_WEAK_HASHES = frozenset({"md2", "md5", "sha1"})

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one side of a connection.

    Attributes
    ----------
    setting
        What the settings that name them begin with, for messages (``VNA_DIMSE__TLS``).
    certificate, key
        PEM files of the certificate with its chain, and of its private key; both or none.
    ca
        PEM file of the authorities whose certificates are trusted.
    ca_setting
        How settings name ``ca``, if not as that of clients' certificates.
    """

    setting: str
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    ca_setting: str = ""

    @property
    def ca_name(self) -> str:
        """How a message names the setting of ``ca``."""
        return self.ca_setting or f"{self.setting}__CLIENT_CA"

    def stamp(self) -> Stamp:
        """Return what tells whether a file has changed; raises ``OSError`` for one that is away."""
        stats = [os.stat(path) for path in (self.certificate, self.key, self.ca) if path is not None]
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in stats)


def check_identity(files: TlsFiles, now: datetime | None = None, *, server: bool = True) -> datetime:
    """Check that certificate and key can be shown to anybody.

    Parameters
    ----------
    files
        With certificate and key.
    now
        Time to check against.
    server
        Whether they are for a listener, and not for a client alone.

    Returns
    -------
    datetime
        When the first certificate of the chain ends.

    Raises
    ------
    ConfigurationError
        A file cannot be read or is no PEM, they do not match, a certificate is
        not valid yet or any more, a key or a signature is weak, or the certificate
        is not for a server. The message names setting and file.
    """
    assert files.certificate is not None
    assert files.key is not None
    setting = f"{files.setting}__CERTIFICATE"
    chain = _certificates(files.certificate, setting)
    _match(files, chain)
    moment = now or datetime.now(UTC)
    for place, certificate in enumerate(chain):
        which = f"{setting}: {files.certificate}: {_name(certificate)}"
        _check_times(certificate, which, moment)
        _check_key(certificate.public_key(), which)
        # The signature of an authority on its own certificate proves nothing, and is checked by nobody.
        if place == 0 or certificate.issuer != certificate.subject:
            _check_signature(certificate, which)
    if server:
        _check_use(chain[0], f"{setting}: {files.certificate}: {_name(chain[0])}")
    return min(certificate.not_valid_after_utc for certificate in chain)


def check_authorities(path: Path, setting: str) -> None:
    """Check that a file holds certificates; raises ``ConfigurationError`` naming setting and file."""
    _certificates(path, setting)


def first_certificate(path: Path, setting: str) -> bytes:
    """Return the first certificate of a PEM file, DER; raises ``ConfigurationError`` naming setting and file."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return _certificates(path, setting)[0].public_bytes(Encoding.DER)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of the first certificate of a PEM file, in hex digits; raises ``ConfigurationError``."""
    from cryptography.hazmat.primitives.hashes import SHA256

    return _certificates(path, "certificate")[0].fingerprint(SHA256()).hex()


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path} cannot be read: {error.strerror}") from error


def _certificates(path: Path, setting: str) -> list[x509.Certificate]:
    from cryptography import x509

    data = _read(path, setting)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {path} holds no PEM certificate that can be read ({error})") from error


def _match(files: TlsFiles, chain: Sequence[x509.Certificate]) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    assert files.key is not None
    setting = f"{files.setting}__KEY"
    data = _read(files.key, setting)
    try:
        key = load_pem_private_key(data, None)
    except TypeError as error:
        raise ConfigurationError(f"{setting}: {files.key} is encrypted; give the key without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{setting}: {files.key} holds no PEM private key that can be read") from error
    wanted = _public_bytes(key.public_key())
    if _public_bytes(chain[0].public_key()) == wanted:
        return
    others = [_name(each) for each in chain[1:] if _public_bytes(each.public_key()) == wanted]
    if others:
        message = f"{files.certificate} has {_name(chain[0])} first, {files.key} belongs to {others[0]}: put that first"
    else:
        message = f"{files.key} is not the key of {_name(chain[0])} in {files.certificate}"
    raise ConfigurationError(f"{setting}: {message}")


def _public_bytes(key: PublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_times(certificate: x509.Certificate, which: str, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise ConfigurationError(f"{which} has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc:
        message = f"{which} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise ConfigurationError(f"{message}; is the clock of this machine right?")


def _check_key(key: CertificatePublicKeyTypes, which: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < LEAST_RSA_BITS:
            message = f"{which} has an RSA key of {key.key_size} bits; {LEAST_RSA_BITS} are the least"
            raise ConfigurationError(message)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.key_size < LEAST_CURVE_BITS:
            message = f"{which} has a key of {key.curve.key_size} bits on its curve; {LEAST_CURVE_BITS} are the least"
            raise ConfigurationError(message)
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise ConfigurationError(f"{which} has a key that is neither RSA nor on an elliptic curve")


def _check_signature(certificate: x509.Certificate, which: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm as error:
        raise ConfigurationError(f"{which} is signed by an algorithm that is not supported") from error
    if algorithm is not None and algorithm.name in _WEAK_HASHES:
        raise ConfigurationError(f"{which} is signed with {algorithm.name.upper()}; SHA-256 is the least")


def _check_use(certificate: x509.Certificate, which: str) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
        raise ConfigurationError(f"{which} is not for a server (extended key usage serverAuth is missing)")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"certificate {certificate.serial_number:x}"
