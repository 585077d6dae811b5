"""Writing to S3: put if absent, in one request or in parts."""

from __future__ import annotations

import base64
import os
import time
import zlib
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, Any, cast

import xxhash
from botocore.exceptions import ClientError

from vna.domain.errors import UnavailableError
from vna.domain.file_range import FileRange, FileSlice
from vna.ports.objects import Put
from vna.store.ranges import checked_pieces, compare, read_checked
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import S3_ERRORS, code_of, mapped_errors, status_of

MIB = 1 << 20
_PART = 16 * MIB
# S3 takes 10,000 parts at most.
_MOST_PARTS = 9_000
_PARTS_AT_ONCE = 4
_BUSY = {"ConditionalRequestConflict", "OperationAborted"}
# What a service says of a body that is not what its checksum and length said.
_OTHER_BYTES = {"BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "InvalidDigest"}
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
    """Puts objects into a bucket if they are absent."""

    def __init__(self, connection: S3Connection) -> None:
        self._s3 = connection
        # Some services know no conditional put and say so: then one looks first. Two writers of one
        # key, which is derived from a digest of the bytes, write the same bytes.
        self._conditional = True

    def put_small(self, put: Put) -> bool:
        """Put one object in one request; return whether it was stored."""
        with mapped_errors(f"put {put.key}"):
            if isinstance(put.source, bytes):
                return self._put_body(put, put.source)
            try:
                if isinstance(put.source, FileRange):
                    return self._put_body(put, read_checked(put.source))
                with put.source.open("rb") as file:
                    length = os.fstat(file.fileno()).st_size
                    return self._put_body(put, FileSlice(file.fileno(), 0, length))
            except FileNotFoundError:
                # A faster worker may have put the object and dropped the file.
                if self.exists(put.key):
                    return False
                raise

    def _put_body(self, put: Put, body: bytes | FileSlice) -> bool:
        arguments = self._s3.new_object(put.content_type) | {"ChecksumCRC32": checksum(body)}

        def send(condition: dict[str, Any]) -> None:
            if isinstance(body, FileSlice):
                body.seek(0)
            self._s3.client.put_object(
                Bucket=self._s3.bucket,
                Key=put.key,
                Body=cast("IO[bytes]", body),
                **arguments,
                **condition,
            )

        return self._if_absent(put.key, send)

    def _if_absent(self, key: str, send: Any) -> bool:
        for attempt in range(_CONFLICT_ATTEMPTS):
            if not self._conditional:
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
                    self._conditional = False
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

    def put_large(self, put: Put, source: FileRange) -> bool:
        """Put a range in parts, several at a time; return whether it was stored. Not for threads of the pool."""
        with mapped_errors(f"put {put.key}"):
            if self.exists(put.key):
                return False
            descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                upload = self._s3.client.create_multipart_upload(
                    Bucket=self._s3.bucket,
                    Key=put.key,
                    ChecksumAlgorithm="CRC32",
                    **self._s3.new_object(put.content_type),
                )["UploadId"]
                try:
                    parts = self._send_parts(put.key, upload, descriptor, source)
                    stored = self._complete(put.key, upload, parts)
                except BaseException:
                    self._abort(put.key, upload)
                    raise
            finally:
                os.close(descriptor)
            if not stored:
                self._abort(put.key, upload)
            return stored

    def _send_parts(self, key: str, upload: str, descriptor: int, source: FileRange) -> list[dict[str, Any]]:
        """Send a range in parts.

        Each part is read once for its CRC-32 and the checksum of the whole, and once to be sent: the service compares
        what arrives with the CRC-32, so bytes that changed in between are refused.
        """
        size = max(_PART, -(-source.length // _MOST_PARTS))
        waiting: deque[Future[dict[str, Any]]] = deque()
        parts: list[Any] = []
        whole = xxhash.xxh3_64()
        end = source.offset + source.length
        try:
            for number, start in enumerate(range(source.offset, end, size), 1):
                length = min(size, end - start)
                value = 0
                for piece in checked_pieces(descriptor, FileRange(source.path, start, length), MIB):
                    whole.update(piece)
                    value = zlib.crc32(piece, value)
                body = FileSlice(descriptor, start, length)
                waiting.append(self._s3.pool.submit(self._send_part, key, upload, number, body, crc32_text(value)))
                if len(waiting) >= _PARTS_AT_ONCE:
                    parts.append(waiting.popleft().result())
            compare(source, whole.intdigest())
            parts += [part.result() for part in waiting]
        except ClientError as error:
            if code_of(error) in _OTHER_BYTES:
                source.check()
            raise
        finally:
            # The descriptor is closed after this: nobody may still read from it.
            for part in waiting:
                if not part.cancel():
                    part.exception()
        return parts

    def _send_part(self, key: str, upload: str, number: int, body: FileSlice, value: str) -> dict[str, Any]:
        answer = self._s3.client.upload_part(
            Bucket=self._s3.bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            Body=cast("IO[bytes]", body),
            ChecksumCRC32=value,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": value}

    def _complete(self, key: str, upload: str, parts: list[Any]) -> bool:
        def send(condition: dict[str, Any]) -> None:
            try:
                self._s3.client.complete_multipart_upload(
                    Bucket=self._s3.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
                )
            except ClientError as error:
                # The client asks again when an answer is lost: what is complete is then unknown as an upload.
                if code_of(error) != "NoSuchUpload" or not self.exists(key):
                    raise

        return self._if_absent(key, send)

    def _abort(self, key: str, upload: str) -> None:
        # What cannot be aborted now is left to the bucket's lifecycle rule on incomplete uploads.
        with suppress(*S3_ERRORS):
            self._s3.client.abort_multipart_upload(Bucket=self._s3.bucket, Key=key, UploadId=upload)
