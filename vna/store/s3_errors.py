"""Errors of S3 and its client, as the archive's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from vna.domain.errors import (
    ArchiveError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    OutOfResourcesError,
    UnavailableError,
    UnsupportedError,
)

# What the client raises; ValueError is what it makes of a malformed endpoint.
S3_ERRORS = (ClientError, BotoCoreError, ResponseParserError, HTTPError)

_BY_CODE: dict[str, type[ArchiveError]] = {
    "NoSuchBucket": ConfigurationError,
    "NoSuchKey": NotFoundError,
    "NoSuchVersion": NotFoundError,
    "NoSuchUpload": NotFoundError,
    "BadDigest": UnavailableError,
    "IncompleteBody": UnavailableError,
    "RequestTimeout": UnavailableError,
    "SlowDown": UnavailableError,
    "OperationAborted": UnavailableError,
    "ConditionalRequestConflict": UnavailableError,
    "QuotaExceeded": OutOfResourcesError,
    "XMinioAdminBucketQuotaExceeded": OutOfResourcesError,
    "XMinioStorageFull": OutOfResourcesError,
    "NotImplemented": UnsupportedError,
    "InvalidStorageClass": UnsupportedError,
    "InvalidObjectState": UnsupportedError,
    # Services that keep objects as files have no key that is a folder of other keys.
    "ObjectParentIsFile": UnsupportedError,
    "ExistingObjectIsDirectory": UnsupportedError,
}
_BY_STATUS: dict[int, type[ArchiveError]] = {
    401: ConfigurationError,
    403: ConfigurationError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    412: ConflictError,
    429: UnavailableError,
    501: UnsupportedError,
    507: OutOfResourcesError,
}
_SETUP = (NoCredentialsError, PartialCredentialsError, NoRegionError, ParamValidationError, ProfileNotFound)


def code_of(error: Exception) -> str:
    """Return the S3 error code, empty for an error that is none of the service."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status_of(error: Exception) -> int:
    """Return the HTTP status, 0 for an error that is none of the service."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def archive_error(error: Exception, what: str) -> ArchiveError:
    """Return the archive's error for one of the service, its client, or the file that is sent."""
    message = f"S3: {what}: {error}"
    if isinstance(error, ClientError):
        status = status_of(error)
        kind = _BY_CODE.get(code_of(error)) or _BY_STATUS.get(status)
        if kind is None:
            # An answer that says neither is a refusal that asking again will not change.
            kind = UnavailableError if status >= 500 or status == 0 else UnsupportedError
        return kind(message)
    if isinstance(error, _SETUP):
        return ConfigurationError(message)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"there is no file {error.filename} to put")
    if isinstance(error, SSLError):
        return UnavailableError(f"{message} (VNA_STORE__CA names the CAs that are trusted)")
    return UnavailableError(message)


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Turn errors of S3, its client and the operating system into the archive's."""
    try:
        yield
    except (*S3_ERRORS, OSError) as error:
        raise archive_error(error, what) from error
