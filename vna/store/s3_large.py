"""Writing to S3 in parts: what arrived of an upload that was broken off is not sent again.

The service itself remembers uploads and their parts, so another process, or another host, goes on where one
ended. Parts that are there with the size and checksum that they should have are kept. An upload that is not
needed any more, since somebody has put the object, is aborted by who comes next.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

import xxhash
from botocore.exceptions import ClientError

from vna.domain.errors import IntegrityError
from vna.domain.file_range import FileRange, FileSlice
from vna.ports.objects import Put
from vna.store.ranges import checked_pieces, compare
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import S3_ERRORS, code_of, mapped_errors, status_of
from vna.store.s3_put import MIB, OTHER_BYTES, S3Writer, crc32_text

_PART = 16 * MIB
# S3 takes 10,000 parts at most.
_MOST_PARTS = 9_000
_PARTS_AT_ONCE = 4


@contextmanager
def open_source(source: FileRange) -> Iterator[int]:
    """Open the file of a range; give its descriptor."""
    descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class S3Uploads:
    """Puts objects into a bucket in parts, several at a time. Not for threads of the pool, which send the parts."""

    def __init__(self, connection: S3Connection, writer: S3Writer) -> None:
        self._s3 = connection
        self._writer = writer

    def put(self, put: Put, source: FileRange) -> bool:
        """Put a range if its key is absent; return whether it was stored.

        An upload that fails is left for the next try, unless it is the bytes that are wrong.
        """
        with mapped_errors(f"put {put.key}"):
            try:
                stored = not self._writer.exists(put.key) and self._put(put, source)
            except ClientError as error:
                # Another writer has finished, and has aborted what was not needed any more.
                if code_of(error) != "NoSuchUpload" or not self._writer.exists(put.key):
                    raise
                stored = False
            self._abort_all(put.key)
            return stored

    def put_over(self, put: Put, source: FileRange, more: dict[str, Any]) -> None:
        """Put a range over what there is, with more arguments than a new object has."""
        with mapped_errors(f"put {put.key}"), open_source(source) as descriptor:
            upload = self._create(put, more)
            try:
                parts = self._send(put.key, upload, descriptor, source, {})
                self._complete(put.key, upload, parts, {})
            except BaseException:
                self._abort(put.key, upload)
                raise

    def _put(self, put: Put, source: FileRange) -> bool:
        with open_source(source) as descriptor:
            upload, there = self._begun(put.key) or (self._create(put, {}), {})
            try:
                parts = self._send(put.key, upload, descriptor, source, there)
            except IntegrityError:
                self._abort(put.key, upload)
                raise
            try:
                return self._writer.if_absent(put.key, lambda more: self._complete(put.key, upload, parts, more))
            except ClientError as error:
                # Of parts that the service does not take together, nothing is to be kept for the next try.
                if status_of(error) == 400:
                    self._abort(put.key, upload)
                raise

    def _create(self, put: Put, more: dict[str, Any]) -> str:
        return self._s3.client.create_multipart_upload(
            Bucket=self._s3.bucket,
            Key=put.key,
            ChecksumAlgorithm="CRC32",
            **(self._s3.new_object(put.content_type) | more),
        )["UploadId"]

    def _uploads(self, key: str) -> Iterator[Any]:
        pages = self._s3.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self._s3.bucket, Prefix=key):
            yield from (upload for upload in page.get("Uploads", ()) if upload["Key"] == key)

    def _begun(self, key: str) -> tuple[str, dict[int, Any]] | None:
        """Return the last upload of a key that was begun, and its parts; ``None`` if there is none to go on with."""
        wanted = self._s3.settings.storage_class
        # Credentials may allow to put and not to list uploads: then each begins anew.
        with suppress(ClientError):
            found = [upload for upload in self._uploads(key) if upload.get("StorageClass") in {None, "", wanted}]
            if found:
                upload = max(found, key=lambda each: each["Initiated"])["UploadId"]
                pages = self._s3.client.get_paginator("list_parts")
                parts: dict[int, Any] = {}
                for page in pages.paginate(Bucket=self._s3.bucket, Key=key, UploadId=upload):
                    parts |= {part["PartNumber"]: part for part in page.get("Parts", ())}
                return upload, parts
        return None

    def _send(
        self, key: str, upload: str, descriptor: int, source: FileRange, there: dict[int, Any]
    ) -> list[dict[str, Any]]:
        """Send a range in parts, but for those that are there.

        Each part is read once for its CRC-32 and the checksum of the whole, and once to be sent: the service compares
        what arrives with the CRC-32, so bytes that changed in between are refused.
        """
        size = max(_PART, -(-source.length // _MOST_PARTS))
        waiting: deque[Future[None]] = deque()
        parts: list[dict[str, Any]] = []
        whole = xxhash.xxh3_64()
        end = source.offset + source.length
        try:
            for number, start in enumerate(range(source.offset, end, size), 1):
                length = min(size, end - start)
                value = 0
                for piece in checked_pieces(descriptor, FileRange(source.path, start, length), MIB):
                    whole.update(piece)
                    value = zlib.crc32(piece, value)
                part = {"PartNumber": number, "ChecksumCRC32": crc32_text(value)}
                parts.append(part)
                known = there.get(number, {})
                if known.get("Size") == length and known.get("ChecksumCRC32") == part["ChecksumCRC32"]:
                    part["ETag"] = known["ETag"]
                    continue
                body = FileSlice(descriptor, start, length)
                waiting.append(self._s3.pool.submit(self._send_part, key, upload, part, body))
                if len(waiting) >= _PARTS_AT_ONCE:
                    waiting.popleft().result()
            compare(source, whole.intdigest())
            for sent in waiting:
                sent.result()
        except ClientError as error:
            if code_of(error) in OTHER_BYTES:
                source.check()
            raise
        finally:
            # The descriptor is closed after this: nobody may still read from it.
            for sent in waiting:
                if not sent.cancel():
                    sent.exception()
        return parts

    def _send_part(self, key: str, upload: str, part: dict[str, Any], body: FileSlice) -> None:
        answer = self._s3.client.upload_part(
            Bucket=self._s3.bucket,
            Key=key,
            UploadId=upload,
            PartNumber=part["PartNumber"],
            Body=cast("IO[bytes]", body),
            ChecksumCRC32=part["ChecksumCRC32"],
        )
        part["ETag"] = answer["ETag"]

    def _complete(self, key: str, upload: str, parts: list[Any], condition: dict[str, Any]) -> None:
        try:
            self._s3.client.complete_multipart_upload(
                Bucket=self._s3.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
            )
        except ClientError as error:
            # The client asks again when an answer is lost: what is complete is then unknown as an upload.
            if code_of(error) != "NoSuchUpload" or not self._writer.exists(key):
                raise

    def _abort(self, key: str, upload: str) -> None:
        # What cannot be aborted now is left to the bucket's lifecycle rule on incomplete uploads.
        with suppress(*S3_ERRORS):
            self._s3.client.abort_multipart_upload(Bucket=self._s3.bucket, Key=key, UploadId=upload)

    def _abort_all(self, key: str) -> None:
        """Abort what was begun and is not needed any more: the object is there."""
        with suppress(*S3_ERRORS):
            for upload in list(self._uploads(key)):
                self._abort(key, upload["UploadId"])
