"""TLS: what is wrong with files is told at the start, files are renewed, certificates are told apart."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import Authority, Certificate
from vna.domain.errors import ConfigurationError
from vna.security import tls
from vna.security.tls_errors import distrusted, explain
from vna.security.tls_files import TlsFiles, check_identity
from vna.security.tls_peer import PeerCertificate, binding


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Certificate:
    return authority.issue("good")


def files(made: Certificate, **changes: Path) -> TlsFiles:
    given = {"certificate": made.certificate, "key": made.key} | changes
    return TlsFiles("VNA_DIMSE__TLS", **given)


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Do a handshake in memory; return both ends."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(6):
        waiting = False
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            return ends
    raise AssertionError("the handshake does not end")


def test_good_files_are_taken(authority: Authority, good: Certificate) -> None:
    for made in (good, authority.issue("curve", key="ec")):
        ends = check_identity(files(made))
        assert timedelta(days=59) < ends - datetime.now(UTC) < timedelta(days=60)


def encrypted(authority: Authority, folder: Path) -> Certificate:
    made = authority.issue("encrypted")
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    secret = folder / "secret.key"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return Certificate(made.certificate, secret)


def sha1(_: Authority, folder: Path) -> Certificate:
    made = Certificate(folder / "sha1.pem", folder / "sha1.key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-subj", "/CN=old"]
    subprocess.run([*command, "-keyout", made.key, "-out", made.certificate], check=True, capture_output=True)
    return made


def wrong_order(authority: Authority, folder: Path) -> Certificate:
    made = authority.issue("order")
    chain = folder / "chain.pem"
    chain.write_bytes(authority.ca.read_bytes() + made.certificate.read_bytes())
    return Certificate(chain, made.key)


def broken(authority: Authority, folder: Path) -> Certificate:
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return Certificate(folder / "broken.pem", authority.issue("good").key)


WRONG: dict[str, tuple[Callable[[Authority, Path], Certificate], str]] = {
    "missing": (lambda a, f: Certificate(f / "none.pem", a.issue("good").key), "none.pem cannot be read: No such file"),
    "a folder": (lambda a, f: Certificate(a.issue("good").certificate, f), "__KEY: .* cannot be read: Is a directory"),
    "broken": (broken, "broken.pem holds no PEM certificate"),
    "no key": (lambda a, _: Certificate(a.ca, a.ca), "__KEY: .*ca.pem holds no PEM private key"),
    "another key": (
        lambda a, _: Certificate(a.issue("one").certificate, a.issue("two").key),
        "is not the key of CN=one",
    ),
    "wrong order": (wrong_order, "has CN=ca first, .* belongs to CN=order: put that first"),
    "encrypted": (encrypted, "is encrypted; give the key without a passphrase"),
    "expired": (lambda a, _: a.issue("e", begins=timedelta(-9), ends=timedelta(-1)), "CN=e has expired on 20"),
    "too early": (lambda a, _: a.issue("l", begins=timedelta(1)), "CN=l is not valid before .* clock"),
    "short key": (lambda a, _: a.issue("short", bits=1024), "RSA key of 1024 bits; 2048 are the least"),
    "sha1": (sha1, "signed with SHA1; SHA-256 is the least"),
    "for clients": (lambda a, _: a.issue("c", uses=[ExtendedKeyUsageOID.CLIENT_AUTH]), "is not for a server"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(authority: Authority, tmp_path: Path, name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(ConfigurationError, match=f"^VNA_DIMSE__TLS.*{message}"):
        tls.server_context(files(make(authority, tmp_path)))


def test_an_authority_that_is_none_is_named(good: Certificate, tmp_path: Path) -> None:
    for wrong in (tmp_path / "none.pem", good.key):
        with pytest.raises(ConfigurationError, match=r"VNA_DIMSE__TLS__CLIENT_CA: .*(none\.pem|good\.key)"):
            tls.server_context(files(good, ca=wrong))


def test_renewed_files_are_taken_up_and_wrong_ones_are_not(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0)
    own = Certificate(tmp_path / "own.pem", tmp_path / "own.key")
    stranger = Authority(tmp_path, "stranger")

    def install(made: Certificate, *, key: bool = True) -> None:
        # As a renewal does it: another file under the same name.
        shutil.copy(made.certificate, tmp_path / "new")
        (tmp_path / "new").rename(own.certificate)
        if key:
            shutil.copy(made.key, own.key)

    def served() -> tuple[str, ...]:
        shown = PeerCertificate.of(shake(server, client)[0])
        assert shown is not None
        return shown.names[:1]

    ca = tmp_path / "authorities.pem"
    shutil.copy(authority.ca, ca)
    install(authority.issue("first"))
    server = tls.server_context(files(own, ca=ca))
    shown = authority.issue("client")
    client = tls.client_context(files(shown, ca=authority.ca))
    assert served() == ("first",)
    second = authority.issue("second", key="ec")
    install(second, key=False)
    assert served() == ("first",)
    assert served() == ("first",)
    assert caplog.text.count("the certificate in use is kept") == 1
    install(second)
    assert served() == ("second",)
    own.certificate.unlink()
    assert served() == ("second",)
    # Another authority for clients: what the one before has issued gets in no more.
    install(second)
    shutil.copy(stranger.ca, ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        served()
    client.load_cert_chain(*_pair(stranger.issue("friend")))
    assert served() == ("second",)


def test_the_end_of_a_certificate_is_told_beforehand_and_once_a_day(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "_LOOK_SECONDS", 0)
    server = tls.server_context(files(authority.issue("short-lived", ends=timedelta(days=3))))
    tls.server_context(files(authority.issue("long-lived")))
    client = tls.client_context(TlsFiles("X", ca=authority.ca))
    shake(server, client)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "short-lived.pem ends on 20" in caplog.text
    monkeypatch.setattr(tls, "_REMIND_SECONDS", 0)
    shake(server, client)
    assert len(caplog.records) == 2


def _pair(made: Certificate) -> tuple[Path, Path]:
    return made.certificate, made.key


@pytest.mark.parametrize(
    "text", ["AB:" * 31 + "CD", "ab" * 31 + "cd", "sha256:" + "ab" * 31 + "cd", "SHA-256=" + "AB:" * 31 + "CD"]
)
def test_a_fingerprint_is_read_in_every_spelling(text: str) -> None:
    assert binding(f" {text} ") == "sha256:" + "ab" * 31 + "cd"


def test_a_name_is_no_fingerprint_and_a_fingerprint_no_name(authority: Authority, good: Certificate) -> None:
    server = tls.server_context(files(authority.issue("server"), ca=authority.ca))
    forged = authority.issue("forged", common_name=binding(good.fingerprint)[:64], names=("ct01.example", "10.0.0.21"))
    shown = PeerCertificate.of(shake(server, tls.client_context(files(forged, ca=authority.ca)))[1])
    assert shown is not None
    assert shown.is_one_of([binding(forged.fingerprint)])
    assert shown.is_one_of(["CT02", "ct01.example"])
    assert shown.is_one_of(["10.0.0.21"])
    assert not shown.is_one_of(["CT01.example", "example", "*", ""])
    assert not PeerCertificate("00", (binding(good.fingerprint),)).is_one_of([binding(good.fingerprint)])
    with pytest.raises(ValueError, match="empty"):
        binding(" ")


def test_a_client_believes_nobody_by_default(authority: Authority, good: Certificate, tmp_path: Path) -> None:
    server = tls.server_context(files(good))
    with pytest.raises(ssl.SSLCertVerificationError) as untrusted:
        shake(server, tls.client_context(TlsFiles("X")))
    assert "not trusted" in explain(untrusted.value)
    elsewhere = tls.server_context(files(authority.issue("elsewhere", names=("other.example",))))
    with pytest.raises(ssl.SSLCertVerificationError) as other:
        shake(elsewhere, tls.client_context(TlsFiles("X", ca=authority.ca)))
    assert "for another name" in explain(other.value)
    assert distrusted(other.value)
    # Pinned: this very certificate, and not another one of the same authority.
    chain = tmp_path / "chain.pem"
    chain.write_bytes(good.certificate.read_bytes() + authority.ca.read_bytes())
    shake(server, tls.client_context(TlsFiles("X", ca=chain), only=True))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(elsewhere, tls.client_context(TlsFiles("X", ca=chain), only=True))


def test_suites_and_versions(good: Certificate) -> None:
    context = tls.server_context(files(good))
    old = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
    assert old == list(tls.SUITES)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
