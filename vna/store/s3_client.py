"""The connection to an S3 service: one client and one thread pool for each process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from vna.config import StoreSettings
from vna.domain.errors import ConfigurationError, UnavailableError
from vna.store.per_process import PerProcess
from vna.store.s3_errors import S3_ERRORS, archive_error, code_of, mapped_errors, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 3
_CONNECT_SECONDS = 5.0


class S3Connection:
    """A bucket, reached when first needed.

    Parameters
    ----------
    settings
        The section ``store`` of the configuration.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.bucket = settings.bucket
        self._client = PerProcess(self._make_client)
        self._pool = PerProcess(lambda: ThreadPoolExecutor(settings.concurrency, thread_name_prefix="s3"))
        self._seen = False

    @property
    def client(self) -> S3Client:
        """The client of this process; safe for use by many threads."""
        return self._client.get()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads of this process for requests in parallel."""
        return self._pool.get()

    def _make_client(self) -> S3Client:
        settings = self.settings
        if settings.ca is not None and not settings.ca.is_file():
            raise ConfigurationError(f"VNA_STORE__CA: there is no file {settings.ca}")
        config = Config(
            s3={"addressing_style": "path" if settings.path_style else "virtual"},
            connect_timeout=min(_CONNECT_SECONDS, settings.timeout_seconds),
            read_timeout=settings.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=settings.concurrency + 4,
            tcp_keepalive=True,
            # Checksums are sent as plain headers where they matter; the client's default,
            # trailers in a chunked encoding, is not understood by every service.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            return boto3.session.Session().client(
                "s3",
                endpoint_url=settings.endpoint or None,
                region_name=settings.region,
                aws_access_key_id=settings.access_key.get_secret_value() if settings.access_key else None,
                aws_secret_access_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
                verify=str(settings.ca) if settings.ca else None,
                config=config,
            )
        except ValueError as error:
            raise ConfigurationError(f"VNA_STORE__ENDPOINT: {error}") from error
        except S3_ERRORS as error:
            raise archive_error(error, "set up") from error

    def new_object(self, content_type: str) -> dict[str, Any]:
        """Return the arguments that every new object is made with."""
        settings = self.settings
        arguments: dict[str, Any] = {"ContentType": content_type} | self.encryption()
        if settings.storage_class != "STANDARD":
            arguments["StorageClass"] = settings.storage_class
        return arguments

    def encryption(self) -> dict[str, Any]:
        """Return the arguments for server-side encryption."""
        arguments: dict[str, Any] = {}
        if self.settings.sse:
            arguments["ServerSideEncryption"] = self.settings.sse
        if self.settings.sse == "aws:kms" and self.settings.kms_key:
            arguments["SSEKMSKeyId"] = self.settings.kms_key
        return arguments

    def need_bucket(self) -> None:
        """Raise ``ConfigurationError`` for a missing bucket, which the answer to a HEAD does not tell from a key."""
        if not self._seen:
            self.check_bucket()

    def check_bucket(self) -> None:
        """Raise ``ConfigurationError`` if the bucket is missing; make it if the configuration says so."""
        with mapped_errors("check"):
            try:
                self.client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if status_of(error) != 404:
                    raise
                if not self.settings.create_bucket:
                    message = f"VNA_STORE__BUCKET: there is no bucket {self.bucket} (VNA_STORE__CREATE_BUCKET makes it)"
                    raise ConfigurationError(message) from error
                self._create_bucket()
        self._seen = True

    def _create_bucket(self) -> None:
        arguments: dict[str, Any] = {"Bucket": self.bucket}
        # AWS takes us-east-1 for granted and refuses to hear it.
        if self.settings.region != "us-east-1":
            arguments["CreateBucketConfiguration"] = {"LocationConstraint": self.settings.region}
        for lock in (True, False):
            try:
                self.client.create_bucket(**arguments, ObjectLockEnabledForBucket=lock)
            except ClientError as error:
                code = code_of(error)
                if code == "BucketAlreadyOwnedByYou":
                    return
                if code in {"BucketAlreadyExists", "OperationAborted"}:
                    # Somebody else is at it: ours by now, or another's.
                    self.client.head_bucket(Bucket=self.bucket)
                    return
                if not lock or status_of(error) not in {400, 501}:
                    raise
            else:
                return
        raise UnavailableError(f"S3: bucket {self.bucket} cannot be made")

    def close(self) -> None:
        """Close connections and end threads of this process."""
        pool = self._pool.take()
        if pool is not None:
            pool.shutdown()
        client = self._client.take()
        if client is not None:
            client.close()
