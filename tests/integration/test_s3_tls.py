"""An object store that speaks TLS with a certificate of the hospital's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.certificates import certificate
from tests.support.s3 import S3Service, running
from vna.domain.errors import ConfigurationError, UnavailableError
from vna.store.s3 import S3Store

__all__ = ["certificate"]


@pytest.fixture(scope="module")
def secure(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    folder = tmp_path_factory.mktemp("minio-certificates")
    shutil.copy(certificate[0], folder / "private.key")
    shutil.copy(certificate[1], folder / "public.crt")
    with running("minio", folder) as service:
        yield service


def test_objects_go_over_tls_to_a_service_whose_ca_is_named(secure: S3Service, certificate: tuple[Path, Path]) -> None:
    with closing(S3Store(secure.settings(ca=certificate[1], multipart_bytes=5 << 20))) as store:
        store.check()
        data = bytes(range(256)) * (6 << 12)
        assert store.put("large", data)
        assert store.get("large") == data
        assert b"".join(store.stream("large", 5, 10)) == data[5:15]


def test_a_certificate_of_a_stranger_is_not_trusted_and_the_setting_is_named(secure: S3Service) -> None:
    with closing(S3Store(secure.settings())) as store, pytest.raises(UnavailableError, match="VNA_STORE__CA"):
        store.check()


def test_a_ca_file_that_is_not_there_is_named(secure: S3Service, tmp_path: Path) -> None:
    with (
        closing(S3Store(secure.settings(ca=tmp_path / "none.pem"))) as store,
        pytest.raises(ConfigurationError, match=r"VNA_STORE__CA.*none\.pem"),
    ):
        store.check()
