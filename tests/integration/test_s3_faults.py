"""S3 that is down, slow, overloaded, cut off or set up wrongly: what the archive then sees."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.flaky_proxy import FlakyProxy
from tests.support.ports import free_port
from tests.support.s3 import S3Service, Server, service_names
from vna.domain.errors import ArchiveError, ConfigurationError, NotFoundError, UnavailableError, UnsupportedError
from vna.ports.objects import ObjectStore, Put
from vna.store import s3_lock
from vna.store.s3 import S3Store

MIB = 1 << 20
DATA = random.Random(11).randbytes(3 * MIB)
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
NOT_IMPLEMENTED = (
    b"<Error><Code>NotImplemented</Code><Message>Header If-None-Match is not implemented</Message></Error>"
)
# Three attempts of a second each, with the waits of the client in between, and a busy machine.
BOUND_SECONDS = 20

CALLS: dict[str, Callable[[ObjectStore], Any]] = {
    "put": lambda store: store.put("new", b"x"),
    "put_batch": lambda store: store.put_batch([Put(f"new/{number}", b"x") for number in range(3)]),
    "replace": lambda store: store.replace("new", b"x"),
    "get": lambda store: store.get("data"),
    "get_many": lambda store: list(store.get_many(["data", "data"])),
    "stream": lambda store: list(store.stream("data")),
    "open": lambda store: store.open("data"),
    "head": lambda store: store.head("data"),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("other"),
    "hold": lambda store: store.set_legal_hold("data", on=True),
    "retention": lambda store: store.set_retention("data", datetime.now(UTC)),
    "class": lambda store: store.set_storage_class("data", "REDUCED_REDUNDANCY"),
    "check": lambda store: store.check(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture(scope="module", params=service_names())
def service(request: pytest.FixtureRequest) -> S3Service:
    found: S3Service = request.getfixturevalue("minio" if request.param == "external" else request.param)
    return found


@pytest.fixture(scope="module")
def proxy(minio: S3Service) -> Iterator[FlakyProxy]:
    with proxy_before(minio) as running:
        yield running


def proxy_before(service: S3Service) -> FlakyProxy:
    target = urlsplit(service.endpoint)
    assert target.hostname is not None
    return FlakyProxy(target.hostname, target.port or 80)


@pytest.fixture(scope="module")
def shared(minio: S3Service, proxy: FlakyProxy) -> Iterator[S3Store]:
    settings = minio.settings(endpoint=proxy.url, timeout_seconds=1, concurrency=4, multipart_bytes=5 * MIB)
    with closing(S3Store(settings)) as store:
        store.check()
        store.put("data", DATA)
        yield store


@pytest.fixture
def fresh(service: S3Service) -> Iterator[tuple[S3Store, FlakyProxy]]:
    """Give a store that has not failed yet: after many failures the client stops to ask twice."""
    with proxy_before(service) as proxy:
        settings = service.settings(endpoint=proxy.url, timeout_seconds=2, concurrency=4, multipart_bytes=5 * MIB)
        with closing(S3Store(settings)) as store:
            store.check()
            yield store, proxy


@pytest.fixture
def store(shared: S3Store, proxy: FlakyProxy) -> Iterator[S3Store]:
    proxy.heal()
    yield shared
    proxy.heal()


def unavailable(call: Callable[[ObjectStore], Any], store: ObjectStore) -> None:
    begun = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        call(store)
    assert caught.value.retry
    assert time.monotonic() - begun < BOUND_SECONDS


@every_call
def test_a_service_that_is_down_is_unavailable(call: Callable[[ObjectStore], Any]) -> None:
    service = S3Service("none", f"http://127.0.0.1:{free_port()}", "key", "secret-secret")
    with closing(S3Store(service.settings(timeout_seconds=1))) as store:
        unavailable(call, store)


@every_call
def test_a_service_that_cuts_connections_is_unavailable_until_healed(
    store: S3Store, proxy: FlakyProxy, call: Callable[[ObjectStore], Any]
) -> None:
    proxy.refuse()
    unavailable(call, store)
    proxy.heal()
    assert store.get("data") == DATA


@every_call
def test_an_overloaded_service_is_unavailable(
    store: S3Store, proxy: FlakyProxy, call: Callable[[ObjectStore], Any]
) -> None:
    proxy.error(503, SLOW_DOWN)
    unavailable(call, store)


@pytest.mark.parametrize("name", ["put", "get", "list"])
def test_a_slow_service_is_unavailable(store: S3Store, proxy: FlakyProxy, name: str) -> None:
    proxy.delay(3)
    unavailable(CALLS[name], store)
    proxy.heal()
    assert store.get("data") == DATA


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b"<html><body>Bad gateway</body></html>", b"no XML at all"])
def test_an_answer_of_something_in_between_is_unavailable(
    store: S3Store, proxy: FlakyProxy, status: int, body: bytes
) -> None:
    proxy.error(status, body)
    unavailable(CALLS["get"], store)
    unavailable(CALLS["put"], store)


def test_a_short_overload_is_not_seen(fresh: tuple[S3Store, FlakyProxy]) -> None:
    store, proxy = fresh
    proxy.error(503, SLOW_DOWN, times=1)
    assert store.put("overload/1", b"x") is True
    proxy.error(503, SLOW_DOWN, times=1)
    assert store.get("overload/1") == b"x"


def test_a_lost_answer_leaves_a_whole_object(fresh: tuple[S3Store, FlakyProxy]) -> None:
    store, proxy = fresh
    proxy.cut_after(1, times=1)
    # The second attempt finds what the first one stored.
    store.put("lost", DATA)
    assert store.get("lost") == DATA
    assert store.put("lost", b"other") is False


@pytest.mark.parametrize("times", [1, 3])
def test_a_download_that_is_cut_is_resumed(store: S3Store, proxy: FlakyProxy, times: int) -> None:
    proxy.cut_after(1_200_000, times=times)
    assert b"".join(store.stream("data", chunk=100_000)) == DATA
    proxy.cut_after(1_200_000, times=times)
    assert b"".join(store.stream("data", 1000, 2 * MIB, chunk=100_000)) == DATA[1000 : 1000 + 2 * MIB]
    proxy.cut_after(700_000, times=times)
    assert store.get("data") == DATA
    proxy.cut_after(1_000, times=times)
    with store.open("data") as file:
        assert file.read() == DATA


def test_a_download_that_is_cut_again_and_again_goes_on_while_it_advances(store: S3Store, proxy: FlakyProxy) -> None:
    proxy.cut_after(400_000)
    assert b"".join(store.stream("data", chunk=100_000)) == DATA


def test_a_download_that_does_not_advance_ends(store: S3Store, proxy: FlakyProxy) -> None:
    proxy.cut_after(1_200_000, times=1)
    stream = store.stream("data", chunk=100_000)
    begun = [next(stream)]
    proxy.cut_after(2_000)
    with pytest.raises(UnavailableError):
        begun.extend(stream)
    received = b"".join(begun)
    assert DATA.startswith(received)
    assert len(received) < len(DATA)


def test_an_upload_in_parts_that_is_cut_is_absent_or_whole(fresh: tuple[S3Store, FlakyProxy], tmp_path: Path) -> None:
    store, proxy = fresh
    source = tmp_path / "source"
    source.write_bytes(DATA * 14)
    for number in range(4):
        key = f"parts/{number}"
        cut = threading.Timer(0.02 + 0.06 * number, proxy.refuse)
        cut.start()
        with suppress(UnavailableError):
            store.put(key, source)
        cut.join()
        proxy.heal()
        info = store.head(key)
        assert info is None or info.size == len(DATA) * 14
        store.put(key, source)
        assert store.get(key) == DATA * 14


def test_after_a_batch_that_failed_in_part_calling_again_completes_it(store: S3Store, proxy: FlakyProxy) -> None:
    puts = [Put(f"batch/{number}", b"%d" % number) for number in range(60)]
    cut = threading.Timer(0.08, proxy.error, (503, SLOW_DOWN))
    cut.start()

    def put_until_it_fails() -> None:
        for begin in range(100):
            store.put_batch([Put(f"fill/{begin}/{put.key}", b"x") for put in puts])

    with pytest.raises(UnavailableError):
        put_until_it_fails()
    cut.join()
    with pytest.raises(UnavailableError):
        store.put_batch(puts)
    proxy.heal()
    store.put_batch(puts)
    assert [data for _, data in store.get_many([put.key for put in puts])] == [put.source for put in puts]


def test_a_service_without_conditional_puts_is_asked_first(fresh: tuple[S3Store, FlakyProxy]) -> None:
    store, proxy = fresh
    proxy.error(501, NOT_IMPLEMENTED, times=1)
    assert store.put("key", b"1") is True
    assert store.put("key", b"2") is False
    assert store.get("key") == b"1"


def test_what_was_put_is_there_after_the_service_was_killed(service: S3Service, tmp_path: Path) -> None:
    server = Server("minio" if service.name == "external" else service.name, tmp_path)
    try:
        with closing(S3Store(server.start().settings(timeout_seconds=5))) as store:
            assert all(store.put_batch([Put(f"k/{number}", DATA[: number * 1000]) for number in range(30)]))
            server.stop()
            unavailable(CALLS["put"], store)
            server.start()
            assert [info.size for info in store.list()] == sorted(
                (number * 1000 for number in range(30)), key=lambda size: str(size // 1000)
            )
            assert store.get("k/29") == DATA[:29000]
    finally:
        server.stop()


@every_call
def test_a_missing_bucket_is_a_matter_of_configuration(service: S3Service, call: Callable[[ObjectStore], Any]) -> None:
    with closing(S3Store(service.settings("vna-no-such-bucket", create_bucket=False))) as store:
        with pytest.raises(ConfigurationError) as caught:
            call(store)
        assert not caught.value.retry


@every_call
def test_refused_credentials_are_a_matter_of_configuration(
    service: S3Service, call: Callable[[ObjectStore], Any]
) -> None:
    with (
        closing(S3Store(service.settings(secret_key="wrong-wrong-wrong"))) as store,
        pytest.raises(ConfigurationError),
    ):
        call(store)


def test_in_a_bucket_without_object_lock_only_holds_are_unsupported(service: S3Service) -> None:
    settings = service.settings(create_bucket=False)
    with closing(S3Store(settings)) as store:
        store._s3.client.create_bucket(Bucket=settings.bucket)
        store.check()
        assert store.put_batch([Put("a", b"1"), Put("a.b", b"2")]) == [True, True]
        assert store.put("a", b"other") is False
        for call in (CALLS["hold"], lambda kept: kept.set_retention("data", datetime.now(UTC) + timedelta(hours=1))):
            store.put("data", b"x")
            with pytest.raises(UnsupportedError):
                call(store)
        store.replace("fact", b"1")
        store.replace("fact", b"2")
        for key in ("a", "fact", "none"):
            store.delete(key)
        assert [info.key for info in store.list()] == ["a.b", "data"]


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "no url", "http://"])
def test_a_malformed_endpoint_is_named(endpoint: str) -> None:
    service = S3Service("none", endpoint, "key", "secret-secret")
    with closing(S3Store(service.settings())) as store, pytest.raises(ConfigurationError, match="VNA_STORE__ENDPOINT"):
        store.check()


def test_many_may_make_the_bucket_at_once(service: S3Service) -> None:
    settings = service.settings()
    failures: list[ArchiveError] = []
    start = threading.Barrier(6)

    def make() -> None:
        with closing(S3Store(settings)) as store:
            start.wait(30)
            try:
                store.check()
            except ArchiveError as error:
                failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with closing(S3Store(settings)) as store:
        assert store.put("a", b"1") is True


@pytest.mark.parametrize(("sse", "key"), [("AES256", ""), ("aws:kms", "vna-key")])
def test_objects_are_encrypted_as_configured(minio: S3Service, tmp_path: Path, sse: str, key: str) -> None:
    large = tmp_path / "large"
    large.write_bytes(DATA * 2)
    with closing(S3Store(minio.settings(sse=sse, kms_key=key, multipart_bytes=5 * MIB))) as store:
        store.check()
        assert store.put_batch([Put("small", DATA), Put("large", large)]) == [True, True]
        store.replace("fact", b"1")
        store.set_storage_class("large", "REDUCED_REDUNDANCY")
        for name in ("small", "large", "fact"):
            head = store._s3.client.head_object(Bucket=store._s3.bucket, Key=name)
            assert head["ServerSideEncryption"] == sse
        assert store.get("small") == DATA
        assert store.get("large") == DATA * 2


def test_new_objects_have_the_configured_class(minio: S3Service) -> None:
    with closing(S3Store(minio.settings(storage_class="REDUCED_REDUNDANCY"))) as store:
        store.check()
        store.put("a", b"1")
        info = store.head("a")
        assert info is not None
        assert info.storage_class == "REDUCED_REDUNDANCY"


def test_an_object_beyond_one_request_changes_class_in_parts(minio: S3Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_lock, "COPY_LIMIT", 5 * MIB)
    monkeypatch.setattr(s3_lock, "COPY_PART", 5 * MIB)
    with closing(S3Store(minio.settings())) as store:
        store.check()
        store.put("large", DATA * 4, "application/dicom")
        store.set_legal_hold("large", on=True)
        store.set_storage_class("large", "REDUCED_REDUNDANCY")
        head = store._s3.client.head_object(Bucket=store._s3.bucket, Key="large")
        assert head["ContentType"] == "application/dicom"
        assert (head["StorageClass"], head["ObjectLockLegalHoldStatus"]) == ("REDUCED_REDUNDANCY", "ON")
        assert store.get("large") == DATA * 4
        with pytest.raises(NotFoundError):
            store.set_storage_class("none", "REDUCED_REDUNDANCY")
