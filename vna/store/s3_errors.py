"""Errors of S3 and its client, as the archive's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
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
    IntegrityError,
    NotFoundError,
    OutOfResourcesError,
    UnavailableError,
    UnsupportedError,
)

# What the client raises; ValueError is what it makes of a malformed endpoint.
S3_ERRORS = (ClientError, BotoCoreError, ResponseParserError, HTTPError)

_BY_CODE: dict[str, type[ArchiveError]] = {
    "NoSuchBucket": ConfigurationError,
    "AuthorizationHeaderMalformed": ConfigurationError,
    "NoSuchKey": NotFoundError,
    "NoSuchVersion": NotFoundError,
    # Of the service and its keys and clocks, with a status that says otherwise.
    "NoSuchUpload": UnavailableError,
    "RequestTimeTooSkewed": UnavailableError,
    "ExpiredToken": UnavailableError,
    "OperationAborted": UnavailableError,
    "ConditionalRequestConflict": UnavailableError,
    "QuotaExceeded": OutOfResourcesError,
    "XMinioAdminBucketQuotaExceeded": OutOfResourcesError,
    "XMinioStorageFull": OutOfResourcesError,
    # What is refused for good is the object's own, or what is asked for: all else may be the service's.
    "NotImplemented": UnsupportedError,
    "InvalidStorageClass": UnsupportedError,
    "InvalidObjectState": UnsupportedError,
    "EntityTooLarge": UnsupportedError,
    "KeyTooLongError": UnsupportedError,
    "MetadataTooLarge": UnsupportedError,
    "XMinioInvalidObjectName": UnsupportedError,
    # Services that keep objects as files have no key that is a folder of other keys.
    "ObjectParentIsFile": UnsupportedError,
    "ExistingObjectIsDirectory": UnsupportedError,
    "XMinioParentIsObject": UnsupportedError,
    "XMinioObjectExistsAsDirectory": UnsupportedError,
}
_BY_STATUS: dict[int, type[ArchiveError]] = {
    401: ConfigurationError,
    403: ConfigurationError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
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
        code = code_of(error)
        if code.startswith("KMS."):
            return UnavailableError(message)
        kind = _BY_CODE.get(code) or _BY_STATUS.get(status_of(error))
        # An answer that is not known is nobody's fault that can be named: an expired token says 400, as does a
        # body that is wrong. Blamed on objects, it would set a day of them aside.
        return (kind or UnavailableError)(message)
    if isinstance(error, FlexibleChecksumError):
        return IntegrityError(message)
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
