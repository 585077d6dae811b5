"""What a check of an S3 store sees: it puts, reads and deletes as objects are put."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.s3 import S3Service, Server, service_names
from vna.domain.errors import ConfigurationError, IntegrityError, UnavailableError
from vna.store.s3 import S3Store
from vna.store.s3_probe import PREFIX


@pytest.fixture(scope="module", params=service_names())
def service(request: pytest.FixtureRequest) -> S3Service:
    found: S3Service = request.getfixturevalue("minio" if request.param == "external" else request.param)
    return found


@pytest.fixture
def store(service: S3Service) -> Iterator[S3Store]:
    with closing(S3Store(service.settings())) as opened:
        opened.check()
        yield opened


def raising(store: S3Store, operation: str, code: str, status: int) -> None:
    def fail(**_: Any) -> None:
        response = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(response, operation)  # type: ignore[arg-type]

    store._s3.client.meta.events.register(f"before-call.s3.{operation}", fail)


def versions(store: S3Store) -> list[str]:
    found = store._s3.client.list_object_versions(Bucket=store._s3.bucket, Prefix=PREFIX)
    return [item["VersionId"] for item in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))]


def test_a_check_leaves_nothing_no_version_either(store: S3Store) -> None:
    for _ in range(3):
        store.check()
    assert versions(store) == []
    assert store._writer.conditional


@pytest.mark.parametrize(("code", "status"), [("ExpiredToken", 400), ("KMS.DisabledException", 400), ("SlowDown", 503)])
def test_a_service_that_takes_no_objects_does_not_pass(store: S3Store, code: str, status: int) -> None:
    raising(store, "PutObject", code, status)
    with pytest.raises(UnavailableError):
        store.check()


@pytest.mark.parametrize(("code", "status"), [("InvalidStorageClass", 400), ("AccessDenied", 403)])
def test_what_is_set_up_wrongly_is_told_as_such(store: S3Store, code: str, status: int) -> None:
    raising(store, "PutObject", code, status)
    with pytest.raises(ConfigurationError):
        store.check()


def test_a_storage_class_that_the_service_does_not_know_is_told(minio: S3Service) -> None:
    with closing(S3Store(minio.settings(storage_class="NO_SUCH_CLASS"))) as store, pytest.raises(ConfigurationError):
        store.check()


def test_a_service_that_reads_other_bytes_does_not_pass(store: S3Store) -> None:
    def other(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Body"] = io.BytesIO(b"other")

    store._s3.client.meta.events.register("after-call.s3.GetObject", other)
    with pytest.raises(IntegrityError):
        store.check()


def test_a_service_that_ignores_the_condition_is_asked_first(store: S3Store) -> None:
    def ignore(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("If-None-Match", None)

    store._s3.client.meta.events.register("before-call.s3.PutObject", ignore)
    store.check()
    assert not store._writer.conditional
    assert versions(store) == []
    assert store.put("key", b"1") is True
    assert store.put("key", b"2") is False
    assert store.get("key") == b"1"


def test_one_answer_does_not_turn_conditional_puts_off(store: S3Store) -> None:
    answers = iter([("NotImplemented", 501)])

    def once(**_: Any) -> None:
        for code, status in answers:
            response = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(response, "PutObject")  # type: ignore[arg-type]

    store._s3.client.meta.events.register("before-call.s3.PutObject", once)
    assert store.put("key", b"1") is True
    assert store._writer.conditional
    assert store.put("key", b"2") is False


def test_a_service_without_conditional_puts_is_found_out(store: S3Store) -> None:
    def refuse(params: dict[str, Any], **_: Any) -> None:
        if "If-None-Match" in params["headers"]:
            response = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise ClientError(response, "PutObject")  # type: ignore[arg-type]

    store._s3.client.meta.events.register("before-call.s3.PutObject", refuse)
    assert store.put("key", b"1") is True
    assert not store._writer.conditional
    assert store.put("key", b"2") is False
    store.check()
    assert store.get("key") == b"1"


def test_a_canary_that_must_be_retained_is_put_over(store: S3Store) -> None:
    raising(store, "DeleteObject", "AccessDenied", 403)
    for _ in range(2):
        store.check()
    assert store._writer.conditional
    assert len({info.key for info in store.list(PREFIX)}) == 1


def test_what_was_changed_below_the_service_is_not_given_out(tmp_path: Path) -> None:
    if "versitygw" not in service_names():
        pytest.skip("this reaches into the folder of a service that is started here")
    server = Server("versitygw", tmp_path)
    try:
        settings = server.start().settings()
        with closing(S3Store(settings)) as store:
            store.check()
            for key in ("a", "b"):
                store.put(key, b"whole bytes" * 100_000)
            (path,) = (tmp_path / "data" / settings.bucket).glob("a")
            with path.open("r+b") as file:
                file.seek(1000)
                file.write(b"#")
            for read in (store.get, lambda key: list(store.stream(key)), lambda key: list(store.get_many([key]))):
                with pytest.raises(IntegrityError):
                    read("a")
                read("b")
            # A range has no checksum of its own.
            assert b"".join(store.stream("a", 1000, 10)).startswith(b"#")
    finally:
        server.stop()
