"""The object store: the record of the archive.

Keys are texts of ``[A-Za-z0-9/_.-]``, at most 512 characters, that neither
start nor end with ``/`` and have no empty, ``.`` or ``..`` part, and none of
more than 255. Any other key raises ``ValueError`` on every adapter. A key that
is a folder of other keys (``a`` beside ``a/b``) is refused with
``UnsupportedError`` by stores that keep objects as files.

Errors: an adapter raises only :mod:`vna.domain.errors`:
``NotFoundError`` for a missing key where one is needed, ``IntegrityError`` for
bytes that the store itself knows to be damaged, ``UnavailableError`` when the
store is down, slow or answers what is not known to be the object's fault, ``OutOfResourcesError`` when it is
full, ``ConflictError`` when a hold or retention forbids, ``UnsupportedError``
when the store cannot do it, ``ConfigurationError`` for a missing bucket or
refused credentials.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from vna.domain.file_range import FileRange


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says of one object.

    Attributes
    ----------
    key
        Its key.
    size
        Length in bytes.
    modified
        When it was stored, UTC.
    storage_class
        Storage class of the store, ``"STANDARD"`` where there is but one.
    """

    key: str
    size: int
    modified: datetime
    storage_class: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class Put:
    """One object to be put: bytes, a file that the store may hard-link or read, or a run of bytes in a file, copied.

    A run of bytes is compared with its checksum as it is copied: ``IntegrityError``, and nothing of it stored,
    if they differ.

    Attributes
    ----------
    key
        Where to.
    source
        The bytes. A ``Path`` must not be written to by anybody afterwards; the place of a ``FileRange`` may be.
    content_type
        Media type, kept where the store can.
    linkable
        The range is a file, whole, that nobody writes to afterwards: it may be linked as a ``Path`` is, and its
        checksum is compared only where it is copied instead.
    """

    key: str
    source: bytes | Path | FileRange
    content_type: str = "application/octet-stream"
    linkable: bool = False


class ObjectReader(ABC):
    """What there is in a store of objects, for who knows the keys."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return an object's bytes, whole. For small objects; raises ``NotFoundError``."""

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield ``(key, bytes)`` in the order of ``keys``; ``None`` for a missing one. Reads ahead."""

    @abstractmethod
    def stream(self, key: str, start: int = 0, length: int | None = None, chunk: int = 1 << 20) -> Iterator[bytes]:
        """Yield the bytes from ``start``, ``length`` of them or to the end, in pieces of at most ``chunk``.

        Raises ``NotFoundError`` before the first piece; a range past the end
        yields what there is. Memory use does not grow with the object.
        """

    @abstractmethod
    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open an object for reading with ``seek`` and ``read``, buffered; raises ``NotFoundError``."""

    @abstractmethod
    def head(self, key: str) -> ObjectInfo | None:
        """Return what there is of a key, ``None`` if nothing."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``UnavailableError``, ``OutOfResourcesError`` or ``ConfigurationError`` if a put would fail now.

        Something is really put, as objects are, and taken away again: when this passes and an object is refused,
        it is the object's own fault.
        """


class ObjectStore(ObjectReader):
    """A flat store of immutable objects."""

    @abstractmethod
    def put_batch(self, puts: Sequence[Put]) -> list[bool]:
        """Put objects if absent, and return when every one of them is durable.

        The local store links a ``Path``, and makes its bytes durable if they are not.

        Returns
        -------
        list of bool
            For each put, in order, ``True`` if it was stored and ``False`` if
            the key was there already (the object there is left as it is; that
            too is durable).

        Raises
        ------
        UnavailableError, OutOfResourcesError
            Some may have been stored, each whole; calling again is safe.
        NotFoundError
            A file source is missing, and so is its key.
        IntegrityError
            The bytes of a range are not those of its checksum, or fewer. Nothing of it is stored; of the
            others of the batch, some may be.
        """

    def put(self, key: str, source: bytes | Path | FileRange, content_type: str = "application/octet-stream") -> bool:
        """Put one object if absent; see :meth:`put_batch`."""
        return self.put_batch([Put(key, source, content_type)])[0]

    @abstractmethod
    def mend(self, put: Put) -> str:
        """Put proved bytes over a damaged object, whatever hold or retention there is; durable on return.

        For an object whose bytes are known not to be those of its key. What was damaged is kept under another
        key, below ``damaged/``, if the store can read it. If nothing is there any more, this is a put.

        Returns
        -------
        str
            The key of the damaged bytes; empty if there were none, or they cannot be read.

        Raises
        ------
        IntegrityError
            The bytes that were given are not those of their checksum. The object is as it was.
        NotFoundError
            The file source is missing.
        UnavailableError, OutOfResourcesError
            The damaged object is there still, or is mended; calling again is safe.
        """

    @abstractmethod
    def replace(self, key: str, data: bytes) -> None:
        """Put a small document, over an older one if there is one. For facts only, never for instances.

        A reader sees the old bytes or the new ones, never a mixture. Durable on return.
        """

    @abstractmethod
    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with ``prefix`` and is greater than ``after``, in key order."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; a missing key is fine. Raises ``ConflictError`` under hold or retention."""

    @abstractmethod
    def set_storage_class(self, key: str, storage_class: str) -> None:
        """Move an object to a storage class. Raises ``NotFoundError``, ``UnsupportedError``."""

    @abstractmethod
    def set_legal_hold(self, key: str, on: bool) -> None:
        """Put or lift a legal hold: while it is on, :meth:`delete` raises ``ConflictError``."""

    @abstractmethod
    def set_retention(self, key: str, until: datetime) -> None:
        """Forbid deletion before ``until`` (UTC). It can be lengthened, not shortened (``ConflictError``)."""

    def close(self) -> None:
        """Release connections. The default does nothing."""
