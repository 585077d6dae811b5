"""Objects in an S3 bucket, by boto3: AWS, MinIO, versitygw and what else speaks the protocol.

Holds and retention need a bucket with object lock. The bucket should have a
lifecycle rule that removes incomplete multipart uploads: a killed process
leaves them behind, invisible.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import structlog
from botocore.exceptions import ClientError

from vna.config import StoreSettings
from vna.domain.errors import ArchiveError, ConfigurationError, NotFoundError
from vna.domain.file_range import FileRange
from vna.ports.objects import ObjectInfo, ObjectStore, Put
from vna.store.keys import check_key, check_prefix, damaged_key
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import mapped_errors, status_of
from vna.store.s3_large import S3Uploads
from vna.store.s3_lock import S3Locks, lock_of
from vna.store.s3_probe import sing
from vna.store.s3_put import S3Writer, checksum
from vna.store.s3_read import ObjectFile, RangeReader

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

log = structlog.get_logger(__name__)

_BUFFER = 64 << 10
_LARGEST_READ = 8 << 20
# What one request can put, by the protocol.
_LARGEST_PUT = 5 << 30


class S3Store(ObjectStore):
    """Objects in one bucket. Safe for use by many threads, and after a fork. Nothing connects on construction.

    Parameters
    ----------
    settings
        The section ``store`` of the configuration.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._s3 = S3Connection(settings)
        self._writer = S3Writer(self._s3)
        self._uploads = S3Uploads(self._s3, self._writer)
        self._locks = S3Locks(self._s3)

    def put_batch(self, puts: Sequence[Put]) -> list[bool]:
        """Put objects if absent, several at a time; see the port. Large files go in parts."""
        for put in puts:
            check_key(put.key)
        try:
            return self._put_batch(puts)
        except ConfigurationError:
            if not self._settings.create_bucket:
                raise
            # The bucket may be missing: this makes it, or says what else is wrong.
            self._s3.check_bucket()
            return self._put_batch(puts)

    def _put_batch(self, puts: Sequence[Put]) -> list[bool]:
        if len(puts) == 1 and self._large_source(puts[0]) is None:
            return [self._writer.put_small(puts[0])]
        pending: dict[int, Future[bool]] = {}
        stored: dict[int, bool] = {}
        large: list[tuple[int, Put, FileRange]] = []
        for number, put in enumerate(puts):
            if (source := self._large_source(put)) is not None:
                large.append((number, put, source))
            else:
                pending[number] = self._s3.pool.submit(self._writer.put_small, put)
        try:
            # Here and not in the pool, whose threads send the parts.
            for number, put, source in large:
                stored[number] = self._uploads.put(put, source)
        finally:
            # A source belongs to the caller again once this has returned or raised.
            wait(pending.values())
        stored |= {number: future.result() for number, future in pending.items()}
        return [stored[number] for number in range(len(puts))]

    def _large_source(self, put: Put) -> FileRange | None:
        """Return what of a source is to be sent in parts, ``None`` if it goes in one request."""
        least = min(self._settings.multipart_bytes, _LARGEST_PUT)
        if isinstance(put.source, FileRange):
            return put.source if put.source.length >= least else None
        if isinstance(put.source, Path):
            # Putting it says what is wrong with a file that is not there.
            with suppress(OSError):
                length = put.source.stat().st_size
                return FileRange(put.source, 0, length) if length >= least else None
        return None

    def replace(self, key: str, data: bytes) -> None:
        """Put a document over an older one; in a versioned bucket the older one stays as a version until deleted."""
        check_key(key)
        with mapped_errors(f"replace {key}"):
            self._s3.client.put_object(
                Bucket=self._s3.bucket,
                Key=key,
                Body=data,
                ChecksumCRC32=checksum(data),
                **self._s3.new_object("application/octet-stream"),
            )

    def mend(self, put: Put) -> str:
        """Put proved bytes over a damaged object; see the port.

        The damaged bytes are copied by the service. In a versioned bucket they stay as a version as well, and a hold
        or retention is that of the new version too.
        """
        check_key(put.key)
        with mapped_errors(f"mend {put.key}"):
            found = self._locks.find(put.key)
        if found is None:
            self.put_batch([put])
            return ""
        kept = self._keep_damaged(put.key, found)
        large = self._large_source(put)
        if large is not None:
            self._uploads.put_over(put, large, lock_of(found))
        else:
            self._writer.put_over(put, lock_of(found))
        return kept

    def _keep_damaged(self, key: str, found: HeadObjectOutputTypeDef) -> str:
        kept = damaged_key(key, found["ETag"])
        try:
            with mapped_errors(f"keep damaged {key}"):
                self._locks.copy(key, kept, found, self._s3.encryption())
        except ArchiveError as error:
            # If the service is well, it is these bytes that it cannot read: there is nothing to be kept.
            self.check()
            log.warning("damaged bytes cannot be read, nor kept", key=key, error=str(error))
            return ""
        return kept

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        return b"".join(self.stream(key, chunk=_LARGEST_READ))

    def get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield the bytes of many objects, in order, as many ahead as there are connections."""
        for key in keys:
            check_key(key)
        return self._get_many(keys)

    def _get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        ahead: deque[tuple[str, Future[bytes | None]]] = deque()
        try:
            for key in keys:
                ahead.append((key, self._s3.pool.submit(self._get_or_none, key)))
                if len(ahead) >= self._settings.concurrency:
                    first, data = ahead.popleft()
                    yield first, data.result()
            while ahead:
                rest, data = ahead.popleft()
                yield rest, data.result()
        finally:
            for _, data in ahead:
                data.cancel()

    def _get_or_none(self, key: str) -> bytes | None:
        try:
            return self.get(key)
        except NotFoundError:
            return None

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk: int = 1 << 20) -> Iterator[bytes]:
        """Yield an object, or a range of it, in pieces; a cut connection is resumed."""
        check_key(key)
        return self._stream(key, start, length, chunk)

    def _stream(self, key: str, start: int, length: int | None, chunk: int) -> Iterator[bytes]:
        if length is not None and length <= 0:
            if self.head(key) is None:
                raise NotFoundError(f"no object {key}")
            return
        yield from RangeReader(self._s3, key).pieces(start, length, chunk)

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading, as a buffered file over ranges."""
        check_key(key)
        return cast("BinaryIO", io.BufferedReader(ObjectFile(self._s3, key), _BUFFER))

    def head(self, key: str) -> ObjectInfo | None:
        """Return what there is of a key."""
        check_key(key)
        with mapped_errors(f"head {key}"):
            try:
                found = self._s3.client.head_object(Bucket=self._s3.bucket, Key=key)
            except ClientError as error:
                if status_of(error) != 404:
                    raise
                self._s3.need_bucket()
                return None
        return ObjectInfo(key, found["ContentLength"], found["LastModified"], found.get("StorageClass", "STANDARD"))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects in key order, a page of a thousand at a time."""
        check_prefix(prefix)
        return self._list(prefix, after)

    def _list(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        pages = self._s3.client.get_paginator("list_objects_v2")
        with mapped_errors("list"):
            for page in pages.paginate(Bucket=self._s3.bucket, Prefix=prefix, StartAfter=after):
                for item in page.get("Contents", ()):
                    yield ObjectInfo(
                        item["Key"], item["Size"], item["LastModified"], item.get("StorageClass", "STANDARD")
                    )

    def delete(self, key: str) -> None:
        """Remove an object with all its versions, unless a hold or retention forbids it."""
        check_key(key)
        self._locks.delete(key)

    def set_storage_class(self, key: str, storage_class: str) -> None:
        """Move an object to another storage class, by a copy onto itself."""
        check_key(key)
        self._locks.set_storage_class(key, storage_class)

    def set_legal_hold(self, key: str, on: bool) -> None:
        """Put or lift a legal hold."""
        check_key(key)
        self._locks.set_legal_hold(key, on=on)

    def set_retention(self, key: str, until: datetime) -> None:
        """Forbid deletion before a time, in GOVERNANCE mode."""
        check_key(key)
        self._locks.set_retention(key, until)

    def check(self) -> None:
        """Put, read back and delete a few bytes, with the arguments of every object; see the port.

        The bucket is made if it is missing and the configuration says so.
        """
        self._s3.check_bucket()
        self._writer.conditional = sing(self._s3)

    def close(self) -> None:
        """Close connections."""
        self._s3.close()
