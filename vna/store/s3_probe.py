"""The canary of a bucket: a few bytes put, read back and deleted, as objects are.

It tells what is wrong with the service, its credentials, keys or quotas from what is wrong with an object.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import zlib
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from vna.domain.errors import ConfigurationError, IntegrityError, UnsupportedError
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import S3_ERRORS, code_of, mapped_errors, status_of

PREFIX = "canary/"
_BYTES = b"a canary of the archive: it may be deleted at any time\n"


def _key() -> str:
    # One for each process, and the same for all its checks: where retention refuses its deletion it must not grow.
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]
    return f"{PREFIX}{host}-{os.getpid()}"


def sing(connection: S3Connection) -> bool:
    """Put, read back and delete a few bytes; return whether the service honours ``If-None-Match``.

    Raises
    ------
    ConfigurationError
        The service refuses what every new object is put with, for good.
    UnavailableError, OutOfResourcesError
        It cannot take objects now.
    """
    key = _key()
    versions: list[str] = []
    try:
        with mapped_errors(f"check {key}"):
            conditional = _conditional(connection, key, versions)
            answer = connection.client.get_object(Bucket=connection.bucket, Key=key, ChecksumMode="ENABLED")
            with answer["Body"] as body:
                found = body.read()
    except UnsupportedError as error:
        raise ConfigurationError(f"VNA_STORE: objects are refused as they are configured: {error}") from error
    finally:
        _delete(connection, key, versions)
    if found != _BYTES:
        raise IntegrityError(f"S3: {key} does not read as it was put")
    return conditional


def honours_conditions(connection: S3Connection) -> bool:
    """Return whether the service honours ``If-None-Match``, asked now. Raises what the service answers."""
    key = _key()
    versions: list[str] = []
    try:
        return _conditional(connection, key, versions)
    finally:
        _delete(connection, key, versions)


def _conditional(connection: S3Connection, key: str, versions: list[str]) -> bool:
    """Put the canary until it is there for certain; return whether a second put was refused for that."""
    for attempt in range(2):
        try:
            _put(connection, key, versions, {"IfNoneMatch": "*"})
        except ClientError as error:
            if status_of(error) == 412:
                if attempt == 0:
                    # An earlier one, which retention keeps: that this one can be put is still to be seen.
                    _put(connection, key, versions, {})
                return True
            if code_of(error) != "NotImplemented":
                raise
            _put(connection, key, versions, {})
            return False
    return False


def _put(connection: S3Connection, key: str, versions: list[str], condition: dict[str, Any]) -> None:
    value = base64.b64encode(zlib.crc32(_BYTES).to_bytes(4, "big")).decode()
    answer = connection.client.put_object(
        Bucket=connection.bucket,
        Key=key,
        Body=_BYTES,
        ChecksumCRC32=value,
        **connection.new_object("text/plain"),
        **condition,
    )
    versions.append(answer.get("VersionId", ""))


def _delete(connection: S3Connection, key: str, versions: list[str]) -> None:
    for version in dict.fromkeys(versions):
        arguments: dict[str, Any] = {"VersionId": version} if version else {}
        # Retention may forbid it, or the credentials; the next check puts over it.
        with suppress(*S3_ERRORS):
            connection.client.delete_object(Bucket=connection.bucket, Key=key, **arguments)
