"""Errors of S3 and its client, as the archive's."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from vna.domain.errors import (
    ArchiveError,
    ConfigurationError,
    ConflictError,
    IntegrityError,
    NotFoundError,
    OutOfResourcesError,
    UnavailableError,
    UnsupportedError,
)
from vna.store.s3_errors import archive_error, mapped_errors


def answer(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer("NoSuchKey", 404), NotFoundError),
        (answer("404", 404), NotFoundError),
        (answer("NoSuchBucket", 404), ConfigurationError),
        (answer("AccessDenied", 403), ConfigurationError),
        (answer("InvalidAccessKeyId", 403), ConfigurationError),
        (answer("SignatureDoesNotMatch", 403), ConfigurationError),
        (answer("PreconditionFailed", 412), ConflictError),
        (answer("OperationAborted", 409), UnavailableError),
        (answer("SlowDown", 503), UnavailableError),
        (answer("InternalError", 500), UnavailableError),
        (answer("TooManyRequests", 429), UnavailableError),
        (answer("RequestTimeout", 400), UnavailableError),
        (answer("BadDigest", 400), UnavailableError),
        (answer("XMinioStorageFull", 507), OutOfResourcesError),
        (answer("QuotaExceeded", 403), OutOfResourcesError),
        (answer("InsufficientStorage", 507), OutOfResourcesError),
        (answer("NotImplemented", 501), UnsupportedError),
        (answer("InvalidStorageClass", 400), UnsupportedError),
        (answer("InvalidObjectState", 403), UnsupportedError),
        (answer("EntityTooLarge", 400), UnsupportedError),
        (answer("KeyTooLongError", 400), UnsupportedError),
        *(
            (answer(code, status), UnavailableError)
            for code, status in (
                ("ExpiredToken", 400),
                ("InvalidToken", 400),
                ("TokenRefreshRequired", 400),
                ("KMS.DisabledException", 400),
                ("KMS.NotFoundException", 400),
                ("KMS.KMSInvalidStateException", 403),
                ("RequestTimeTooSkewed", 403),
                ("MethodNotAllowed", 405),
                ("InvalidPart", 400),
                ("NoSuchUpload", 404),
                ("InvalidArgument", 400),
                ("SomethingNew", 418),
                ("", 400),
            )
        ),
        (answer("AuthorizationHeaderMalformed", 400), ConfigurationError),
        (FlexibleChecksumError(error_msg="other bytes"), IntegrityError),
        (EndpointConnectionError(endpoint_url="http://none"), UnavailableError),
        (ReadTimeoutError(endpoint_url="http://none"), UnavailableError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), UnavailableError),
        (ResponseParserError("not XML"), UnavailableError),
        (NoCredentialsError(), ConfigurationError),
        (ConnectionResetError(104, "reset"), UnavailableError),
        (FileNotFoundError(2, "none", "/spool/file"), NotFoundError),
    ],
    ids=str,
)
def test_an_error_becomes_the_archives(error: Exception, expected: type[ArchiveError]) -> None:
    mapped = archive_error(error, "put a/b")
    assert type(mapped) is expected
    assert "/spool/file" in str(mapped) or "put a/b" in str(mapped)
    with pytest.raises(expected) as caught, mapped_errors("put a/b"):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), mapped_errors("put a/b"):
        raise KeyError("a defect")
