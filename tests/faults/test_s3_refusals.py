"""An S3 service that refuses the end of an upload, and bodies that are changed on their way to it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.http_proxy import HttpProxy, Message
from tests.support.s3 import S3Service
from vna.domain.errors import ArchiveError
from vna.ports.objects import Put
from vna.store.s3 import S3Store

MIB = 1 << 20
_DATA = random.Random(3).randbytes(6 * MIB)
_COMPLETES = r"^POST .*uploadId="
_INVALID = b"<Error><Code>InvalidPart</Code><Message>One or more of the parts could not be found.</Message></Error>"


@pytest.fixture
def proxy(minio: S3Service) -> Iterator[HttpProxy]:
    target = urlsplit(minio.endpoint)
    with HttpProxy(target.hostname or "", target.port or 80) as running:
        yield running


@pytest.fixture
def store(minio: S3Service, proxy: HttpProxy) -> Iterator[S3Store]:
    settings = minio.settings(endpoint=proxy.url, multipart_bytes=5 * MIB, timeout_seconds=5)
    with closing(S3Store(settings)) as made:
        made.check()
        yield made


@pytest.mark.parametrize("status", [400, 200])
def test_a_completion_that_is_refused_stores_nothing(
    store: S3Store, proxy: HttpProxy, tmp_path: Path, status: int
) -> None:
    """The service may answer 200 before it knows, and say in the body that it did not work out."""
    file = tmp_path / "large"
    file.write_bytes(_DATA)
    proxy.error(status, where=_COMPLETES, body=_INVALID)
    with pytest.raises(ArchiveError):
        store.put_batch([Put("refused", file)])
    assert store.head("refused") is None
    proxy.heal()
    assert store.put_batch([Put("refused", file)]) == [True]
    assert store.get("refused") == _DATA


def test_every_body_goes_with_a_checksum_that_is_not_the_transport_s(
    store: S3Store, proxy: HttpProxy, tmp_path: Path
) -> None:
    """A body that is changed behind the signature, in the service itself, is refused by that alone."""
    seen: list[Message] = []

    def look(request: Message, answer: Message) -> Message:
        if request.method == "PUT":
            seen.append(request)
        return answer

    proxy.rewrite(look)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(_DATA[:1000])
    large.write_bytes(_DATA)
    store.put_batch([Put("bytes", b"x" * 1000), Put("small", small), Put("large", large)])
    assert len(seen) >= 3
    assert all(request.header("x-amz-checksum-crc32") for request in seen)
