"""Reading from S3: streams that survive a cut connection, and files with a position."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, FlexibleChecksumError

from vna.domain.errors import NotFoundError, UnavailableError
from vna.store.s3_client import S3Connection
from vna.store.s3_errors import S3_ERRORS, archive_error, status_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody

# Connections in a row that may break before they have brought this much; then a reader gives up.
_RESUMES = 3
_ADVANCE = 64 << 10
_WINDOW = 256 << 10
_LARGEST_WINDOW = 4 << 20


class RangeReader:
    """Reads ranges of one object, always of the same bytes: a resumed read asks for the entity it began with."""

    def __init__(self, connection: S3Connection, key: str) -> None:
        self._s3 = connection
        self._key = key
        self._etag = ""
        self.size = -1

    def open(self, start: int, length: int | None) -> StreamingBody | None:
        """Ask for a range; ``None`` if it is beyond the end."""
        arguments: dict[str, Any] = {"IfMatch": self._etag} if self._etag else {}
        if start or length is not None:
            arguments["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))
        else:
            # The checksum that it was put with is of the whole: read whole, it is compared at the end.
            arguments["ChecksumMode"] = "ENABLED"
        try:
            answer = self._s3.client.get_object(Bucket=self._s3.bucket, Key=self._key, **arguments)
        except ClientError as error:
            if status_of(error) == 416:
                return None
            raise
        self._etag = answer["ETag"]
        _, _, total = answer.get("ContentRange", "").rpartition("/")
        self.size = int(total) if total.isdigit() else answer["ContentLength"]
        return answer["Body"]

    def pieces(self, start: int, length: int | None, chunk: int) -> Iterator[bytes]:
        """Yield a range in pieces; a connection that breaks is made anew from where it broke."""
        end = None if length is None else start + length
        failures = 0
        while end is None or start < end:
            begun = start
            problem = UnavailableError(f"S3: read {self._key}: ended before its end")
            try:
                body = self.open(start, None if end is None else end - start)
                if body is None:
                    return
                with closing(body):
                    while piece := body.read(chunk):
                        start += len(piece)
                        yield piece
                if start >= (self.size if end is None else min(end, self.size)):
                    return
            except FlexibleChecksumError as error:
                raise archive_error(error, f"read {self._key}") from error
            except (*S3_ERRORS, OSError) as error:
                if status_of(error) == 412:
                    raise UnavailableError(f"S3: {self._key} was replaced while it was read") from error
                # What the service itself answers was asked for several times by the client already.
                if isinstance(error, ClientError):
                    raise archive_error(error, f"read {self._key}") from error
                problem.__cause__ = error
            failures = failures + 1 if start - begun < _ADVANCE else 0
            if failures > _RESUMES:
                raise problem


class ObjectFile(io.RawIOBase):
    """An object as an unbuffered file. Reads ahead: more, the longer it is read in sequence.

    Raises
    ------
    NotFoundError
        There is no such object.
    """

    def __init__(self, connection: S3Connection, key: str) -> None:
        self._reader = RangeReader(connection, key)
        self._at = 0
        self._window = _WINDOW
        self._block_start = 0
        self._block = self._fetch(0, _WINDOW)
        # A range of an empty object is past its end, which tells no size.
        self._size = max(self._reader.size, 0)

    def _fetch(self, start: int, length: int) -> bytes:
        return b"".join(self._reader.pieces(start, length, length))

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; nothing is asked of the service."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("position before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer, as far as what was fetched last reaches, or from a new range."""
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not view:
            return 0
        offset = self._at - self._block_start
        if not 0 <= offset < len(self._block):
            in_sequence = offset == len(self._block)
            self._window = min(self._window * 2, _LARGEST_WINDOW) if in_sequence else _WINDOW
            try:
                self._block = self._fetch(self._at, min(max(self._window, len(view)), self._size - self._at))
            except NotFoundError as error:
                raise UnavailableError(f"{error}: it was deleted while it was read") from error
            self._block_start = self._at
            offset = 0
        piece = memoryview(self._block)[offset : offset + len(view)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Return everything from the position on, in one request."""
        data = b"".join(self._reader.pieces(self._at, None, _LARGEST_WINDOW)) if self._at < self._size else b""
        self._at += len(data)
        return data
