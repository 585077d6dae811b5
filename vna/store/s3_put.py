"""Writing to S3 in one request: put if absent, and put over."""

from __future__ import annotations

import base64
import os
import time
import zlib
from collections.abc import Callable
from typing import IO, Any, cast

from botocore.exceptions import ClientError

from vna.domain.errors import NotFoundError, UnavailableError
from vna.domain.file_range import FileRange, FileSlice
from vna.ports.objects import Put
from vna.store.ranges import checked_pieces, read_checked
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import code_of, mapped_errors, status_of
from vna.store.s3_probe import honours_conditions

MIB = 1 << 20
# Ranges up to this size are read once, into memory; longer ones are read once more to be sent.
_IN_MEMORY = 4 * MIB
_BUSY = {"ConditionalRequestConflict", "OperationAborted"}
# What a service says of a body that is not what its checksum and length said.
OTHER_BYTES = {"BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "InvalidDigest"}
_CONFLICT_ATTEMPTS = 5
_CONFLICT_SECONDS = 0.05


def crc32_text(value: int) -> str:
    """Return a CRC-32 as S3 writes it."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def checksum(data: bytes | FileSlice) -> str:
    """Return the CRC-32 as S3 writes it; the service refuses a body that does not match."""
    value = 0
    if isinstance(data, bytes):
        value = zlib.crc32(data)
    else:
        while piece := data.read(MIB):
            value = zlib.crc32(piece, value)
        data.seek(0)
    return crc32_text(value)


class S3Writer:
    """Puts objects into a bucket, in one request each.

    Attributes
    ----------
    conditional
        Whether the service honours ``If-None-Match``. Where it does not, one looks first. Two writers of one
        key, which is derived from a digest of the bytes, write the same bytes.
    """

    def __init__(self, connection: S3Connection) -> None:
        self._s3 = connection
        self.conditional = True

    def put_small(self, put: Put) -> bool:
        """Put one object if it is absent; return whether it was stored."""
        return self._put(put, self.if_absent)

    def put_over(self, put: Put, more: dict[str, Any]) -> None:
        """Put one object over what there is, with more arguments than a new one has."""

        def over(_key: str, send: Callable[[dict[str, Any]], None]) -> bool:
            send(more)
            return True

        if not self._put(put, over):
            raise NotFoundError(f"the file of {put.key} is gone")

    def _put(self, put: Put, how: Callable[[str, Callable[[dict[str, Any]], None]], bool]) -> bool:
        with mapped_errors(f"put {put.key}"):
            if isinstance(put.source, bytes):
                return how(put.key, self._sender(put, put.source, checksum(put.source)))
            try:
                if isinstance(put.source, FileRange):
                    return self._put_range(put, put.source, how)
                with put.source.open("rb") as file:
                    body = FileSlice(file.fileno(), 0, os.fstat(file.fileno()).st_size)
                    return how(put.key, self._sender(put, body, checksum(body)))
            except FileNotFoundError:
                # A faster worker may have put the object and dropped the file.
                if self.exists(put.key):
                    return False
                raise

    def _put_range(self, put: Put, source: FileRange, how: Any) -> bool:
        if source.length <= _IN_MEMORY:
            data = read_checked(source)
            return bool(how(put.key, self._sender(put, data, checksum(data))))
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            value = 0
            for piece in checked_pieces(descriptor, source, MIB):
                value = zlib.crc32(piece, value)
            body = FileSlice(descriptor, source.offset, source.length)
            return bool(how(put.key, self._sender(put, body, crc32_text(value))))
        except ClientError as error:
            # What was sent is not what was compared before: then it is what changed that is wrong.
            if code_of(error) in OTHER_BYTES:
                source.check()
            raise
        finally:
            os.close(descriptor)

    def _sender(self, put: Put, body: bytes | FileSlice, value: str) -> Callable[[dict[str, Any]], None]:
        arguments = self._s3.new_object(put.content_type) | {"ChecksumCRC32": value}

        def send(more: dict[str, Any]) -> None:
            if isinstance(body, FileSlice):
                body.seek(0)
            self._s3.client.put_object(
                Bucket=self._s3.bucket, Key=put.key, Body=cast("IO[bytes]", body), **(arguments | more)
            )

        return send

    def if_absent(self, key: str, send: Callable[[dict[str, Any]], None]) -> bool:
        """Send what makes an object unless there is one; return whether it was made."""
        for attempt in range(_CONFLICT_ATTEMPTS):
            if not self.conditional:
                if self.exists(key):
                    return False
                send({})
                return True
            try:
                send({"IfNoneMatch": "*"})
            except ClientError as error:
                if status_of(error) == 412:
                    return False
                if code_of(error) == "NotImplemented":
                    # One such answer may be of something in between: the service is asked itself, once.
                    self.conditional = honours_conditions(self._s3)
                elif code_of(error) not in _BUSY:
                    raise
                else:
                    # Another writer is at this key: it wins, or fails and leaves it to us.
                    time.sleep(_CONFLICT_SECONDS * 2**attempt)
            else:
                return True
        raise UnavailableError(f"S3: put {key}: other writers of this key did not finish")

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        try:
            self._s3.client.head_object(Bucket=self._s3.bucket, Key=key)
        except ClientError as error:
            if status_of(error) != 404:
                raise
            return False
        return True
