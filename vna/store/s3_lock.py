"""Deletion, holds, retention and storage classes on S3.

In a bucket with object lock, which is versioned, a plain delete only hides an
object behind a marker. Deleting here removes every version, and none of them
while one is held: the older ones that a document replaced, or that a change of
storage class left, are the object as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vna.domain.errors import ConflictError, NotFoundError, UnsupportedError
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import code_of, mapped_errors, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_NO_LOCK = {
    "InvalidRequest",
    "NotImplemented",
    "ObjectLockConfigurationNotFoundError",
    "InvalidBucketObjectLockConfiguration",
}
# One request copies at most 5 GiB; in parts there is no limit.
COPY_LIMIT = 5 << 30
COPY_PART = 1 << 30


@dataclass(frozen=True, slots=True)
class _Version:
    id: str
    marker: bool


def _whole_second(moment: datetime) -> datetime:
    """Return a time in UTC, rounded up: S3 keeps seconds, and may not forget sooner than asked."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + timedelta(seconds=1)


def lock_of(head: HeadObjectOutputTypeDef) -> dict[str, Any]:
    """Return the arguments that give a new version the hold and the retention of an object."""
    lock: dict[str, Any] = {}
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        lock["ObjectLockLegalHoldStatus"] = "ON"
    until = head.get("ObjectLockRetainUntilDate")
    if until is not None and until > datetime.now(UTC):
        lock |= {"ObjectLockMode": head["ObjectLockMode"], "ObjectLockRetainUntilDate": until}
    return lock


class S3Locks:
    """What may happen to objects after they are put."""

    def __init__(self, connection: S3Connection) -> None:
        self._s3 = connection

    def delete(self, key: str) -> None:
        """Remove every version of an object, unless one is under hold or retention."""
        with mapped_errors(f"delete {key}"):
            versions = list(self._versions(key))
            for version in versions:
                if not version.marker:
                    self._forbid_locked(key, version.id)
            for version in versions:
                self._remove(key, version.id)

    def _remove(self, key: str, version: str) -> None:
        try:
            self._s3.client.delete_object(Bucket=self._s3.bucket, Key=key, VersionId=version)
        except ClientError as error:
            if status_of(error) == 404:
                return
            # Held between our look and our deletion.
            if status_of(error) in {400, 403}:
                self._forbid_locked(key, version)
            raise

    def _versions(self, key: str) -> Iterator[_Version]:
        pages = self._s3.client.get_paginator("list_object_versions").paginate(Bucket=self._s3.bucket, Prefix=key)
        for page in pages:
            found = [
                *((item["Key"], _Version(item["VersionId"], marker=False)) for item in page.get("Versions", ())),
                *((item["Key"], _Version(item["VersionId"], marker=True)) for item in page.get("DeleteMarkers", ())),
            ]
            yield from (version for name, version in found if name == key)
            # The key itself sorts before all that only begin with it.
            if any(name != key for name, _ in found):
                return

    def _forbid_locked(self, key: str, version: str) -> None:
        try:
            head = self._s3.client.head_object(Bucket=self._s3.bucket, Key=key, VersionId=version)
        except ClientError as error:
            if status_of(error) == 404:
                return
            raise
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            raise ConflictError(f"{key} is under legal hold")
        until = head.get("ObjectLockRetainUntilDate")
        if until is not None and until > datetime.now(UTC):
            raise ConflictError(f"{key} is retained until {until.isoformat()}")

    def find(self, key: str) -> HeadObjectOutputTypeDef | None:
        """Return what the service says of an object, ``None`` if there is none."""
        try:
            return self._head(key)
        except NotFoundError:
            return None

    def _head(self, key: str) -> HeadObjectOutputTypeDef:
        try:
            return self._s3.client.head_object(Bucket=self._s3.bucket, Key=key)
        except ClientError as error:
            if status_of(error) != 404:
                raise
            self._s3.need_bucket()
            raise NotFoundError(f"no object {key}") from error

    def set_legal_hold(self, key: str, *, on: bool) -> None:
        """Put a hold on the current version, or lift it from every one."""
        with mapped_errors(f"hold {key}"):
            self._head(key)
            if on:
                self._hold(key, "ON", {})
                return
            for version in self._versions(key):
                if not version.marker:
                    self._hold(key, "OFF", {"VersionId": version.id})

    def _hold(self, key: str, status: Any, version: dict[str, Any]) -> None:
        try:
            self._s3.client.put_object_legal_hold(
                Bucket=self._s3.bucket, Key=key, LegalHold={"Status": status}, **version
            )
        except ClientError as error:
            raise self._explained(error, "legal hold") from error

    def set_retention(self, key: str, until: datetime) -> None:
        """Retain until a time, in GOVERNANCE mode unless the object is under COMPLIANCE already."""
        wanted = _whole_second(until)
        with mapped_errors(f"retain {key}"):
            head = self._head(key)
            current = head.get("ObjectLockRetainUntilDate")
            if current is not None and current > wanted:
                raise ConflictError(f"{key} is retained until {current.isoformat()}; it cannot be shortened")
            # Services refuse a time that is past; it forbids nothing.
            if wanted <= datetime.now(UTC):
                return
            mode = head.get("ObjectLockMode", "GOVERNANCE")
            try:
                self._s3.client.put_object_retention(
                    Bucket=self._s3.bucket, Key=key, Retention={"Mode": mode, "RetainUntilDate": wanted}
                )
            except ClientError as error:
                raise self._explained(error, "retention") from error

    @staticmethod
    def _explained(error: ClientError, what: str) -> Exception:
        if code_of(error) in _NO_LOCK or status_of(error) == 501:
            return UnsupportedError(f"S3: {what} needs a bucket with object lock: {error}")
        return error

    def set_storage_class(self, key: str, storage_class: str) -> None:
        """Copy an object onto itself in another class, with its lock; drop the version before, unless it is held."""
        with mapped_errors(f"storage class of {key}"):
            head = self._head(key)
            if head.get("StorageClass", "STANDARD") == storage_class:
                return
            arguments: dict[str, Any] = {"StorageClass": storage_class, **self._s3.encryption(), **lock_of(head)}
            try:
                self.copy(key, key, head, arguments)
            except ClientError as error:
                if status_of(error) in {400, 405, 501}:
                    raise UnsupportedError(f"S3: storage class {storage_class}: {error}") from error
                raise
            if self._head(key).get("StorageClass", "STANDARD") != storage_class:
                raise UnsupportedError(f"S3: this service does not keep storage class {storage_class}")
            version = head.get("VersionId", "null")
            if version != "null" and not lock_of(head):
                self._remove(key, version)

    def _source(self, key: str, head: HeadObjectOutputTypeDef) -> dict[str, Any]:
        return {"CopySource": {"Bucket": self._s3.bucket, "Key": key}, "CopySourceIfMatch": head["ETag"]}

    def copy(self, key: str, to: str, head: HeadObjectOutputTypeDef, arguments: dict[str, Any]) -> None:
        """Copy an object within the bucket, in parts if it is large. Raises what the service answers."""
        if head["ContentLength"] > COPY_LIMIT:
            self._copy_parts(key, to, head, arguments)
            return
        self._s3.client.copy_object(
            Bucket=self._s3.bucket, Key=to, MetadataDirective="COPY", **self._source(key, head), **arguments
        )

    def _copy_parts(self, key: str, to: str, head: HeadObjectOutputTypeDef, arguments: dict[str, Any]) -> None:
        client, bucket, size = self._s3.client, self._s3.bucket, head["ContentLength"]
        upload = client.create_multipart_upload(
            Bucket=bucket, Key=to, ContentType=head["ContentType"], Metadata=head["Metadata"], **arguments
        )["UploadId"]
        try:
            parts: list[Any] = []
            for number, start in enumerate(range(0, size, COPY_PART), 1):
                answer = client.upload_part_copy(
                    Bucket=bucket,
                    Key=to,
                    UploadId=upload,
                    PartNumber=number,
                    CopySourceRange=f"bytes={start}-{min(start + COPY_PART, size) - 1}",
                    **self._source(key, head),
                )
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            client.complete_multipart_upload(Bucket=bucket, Key=to, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            client.abort_multipart_upload(Bucket=bucket, Key=to, UploadId=upload)
            raise
