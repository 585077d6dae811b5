"""Certificates for tests: an authority that issues what a test wants, good or bad, and one for loopback."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOOPBACK = ("localhost", "127.0.0.1")

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 as a person reads it: in hex with colons."""
        digest = x509.load_pem_x509_certificate(self.certificate.read_bytes()).fingerprint(hashes.SHA256())
        return digest.hex(":").upper()


class Authority:
    """A certificate authority; ``ca`` is the PEM file of its certificate."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = _new_key("rsa", 2048)
        self._name = _subject(name)
        own = _write(folder, name, self._key, _build(self._name, self._name, self._key, (), ca=True), self._key)
        self.ca = own.certificate

    def issue(
        self,
        name: str,
        *,
        names: Sequence[str] = LOOPBACK,
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=60),
        key: Literal["rsa", "ec"] = "rsa",
        bits: int = 2048,
        uses: Iterable[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        common_name: str = "",
    ) -> Certificate:
        """Make a certificate and its key, in files that ``name`` names."""
        private = _new_key(key, bits)
        builder = _build(_subject(common_name or name), self._name, private, names, begins=begins, ends=ends)
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(uses)), critical=False)
        return _write(self._folder, name, private, builder, self._key)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _new_key(kind: str, bits: int) -> _Key:
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, bits)


def _build(
    subject: x509.Name,
    issuer: x509.Name,
    key: _Key,
    names: Sequence[str],
    *,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=60),
    ca: bool = False,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now + begins).not_valid_after(now + ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if names:
        alternative = [_alternative(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(
    folder: Path,
    name: str,
    key: _Key,
    builder: x509.CertificateBuilder,
    signer: _Key,
) -> Certificate:
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    signed = builder.sign(signer, hashes.SHA256())
    made.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def for_loopback(folder: Path, name: str = "certificate") -> Certificate:
    """Make a certificate for loopback that is its own authority."""
    key = _new_key("rsa", 2048)
    subject = _subject("localhost")
    return _write(folder, name, key, _build(subject, subject, key, LOOPBACK, ca=True), key)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Key and certificate chain for loopback, PEM."""
    made = for_loopback(tmp_path_factory.mktemp("tls"))
    return made.key, made.certificate
