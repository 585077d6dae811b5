"""The object store as somebody sees it who must not learn whose the objects are.

An instance is made anew of its metadata: the elements that may be shown are
written, and in between lie the bulk values as they are stored. So what the
metadata shows and what the instance holds cannot differ, and no byte of the
original gets out that nobody decided on.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

from vna.deidentify.dataset import Deidentifier
from vna.domain.errors import IntegrityError, NotFoundError, WithheldError
from vna.domain.identity import OBJECT_PREFIX, instance_key, metadata_key
from vna.domain.records import Location
from vna.ingest.document import parse_metadata
from vna.ports.objects import ObjectInfo, ObjectReader
from vna.retrieve.deidentified_instance import DeidentifiedInstance, deidentify
from vna.retrieve.recent import Recent
from vna.retrieve.values import ValueReader

_KEPT_BYTES = 64 << 20
_BATCH = 64
_CHUNK = 1 << 20
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class DeidentifiedObjects(ObjectReader):
    """Reads instances and their metadata documents, de-identified; all else is not there, and nothing can be changed.

    Ranges are of the de-identified instance, and so are the places that its
    metadata document tells. Bytes of an instance that is withheld
    (:mod:`vna.deidentify.pixels`) raise ``WithheldError``.

    Parameters
    ----------
    objects
        The store as it is.
    deidentifier
        What data sets pass through.
    """

    def __init__(self, objects: ObjectReader, deidentifier: Deidentifier) -> None:
        self._objects = objects
        self._deidentifier = deidentifier
        self._recent: Recent[DeidentifiedInstance] = Recent(_KEPT_BYTES)

    # -- what may be seen

    def release(self, locations: Sequence[Location]) -> list[Location]:
        """Return those of instances that are not withheld, with their sizes as they go out.

        Raises
        ------
        WithheldError
            All of them are withheld; it says why the first is.
        """
        found = [(each, self._known(each.key)) for each in locations]
        missing = [each.key for each, known in found if known is None]
        fresh = dict(self._fresh(missing))
        pairs = [(each, known or fresh[each.key]) for each, known in found]
        released = [replace(each, size=known.size) for each, known in pairs if not known.refusal]
        if pairs and not released:
            location, known = pairs[0]
            message = f"instance {location.uids.sop} is withheld from the role researcher: {known.refusal}"
            raise WithheldError(message)
        return released

    def _known(self, key: str) -> DeidentifiedInstance | None:
        return self._recent.get(key)

    def _fresh(self, keys: Sequence[str]) -> Iterator[tuple[str, DeidentifiedInstance]]:
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            documents = self._objects.get_many([metadata_key(key) for key in batch])
            for key, (_, data) in zip(batch, documents, strict=True):
                if data is None:
                    raise IntegrityError("an instance is indexed, but its metadata document is not stored")
                yield key, self._make(key, data)

    def _make(self, key: str, document: bytes) -> DeidentifiedInstance:
        made = deidentify(parse_metadata(document), self._deidentifier)
        self._recent.put(key, made, made.kept_bytes)
        return made

    def _instance(self, key: str) -> DeidentifiedInstance:
        """Return an instance, whether withheld or not; raises ``NotFoundError``."""
        if not key.startswith(OBJECT_PREFIX):
            raise NotFoundError("there is no such object")
        return self._known(key) or self._make(key, self._objects.get(metadata_key(key)))

    def _open_to_see(self, key: str) -> DeidentifiedInstance:
        found = self._instance(key)
        if found.refusal:
            raise WithheldError(f"the instance is withheld from the role researcher: {found.refusal}")
        return found

    # -- the port

    def get(self, key: str) -> bytes:
        """Return a metadata document or an instance."""
        if key.endswith(".json"):
            return self._instance(instance_key(key)).document
        return b"".join(self.stream(key))

    def get_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield metadata documents and instances; ``None`` for what is not there."""
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            wanted = dict.fromkeys(_instance_of(key) for key in batch if key.startswith(OBJECT_PREFIX))
            missing = [key for key in wanted if self._known(key) is None]
            documents = self._objects.get_many([metadata_key(key) for key in missing])
            for key, (_, data) in zip(missing, documents, strict=True):
                if data is not None:
                    self._make(key, data)
            for key in batch:
                try:
                    yield key, self.get(key)
                except NotFoundError:
                    yield key, None

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk: int = 1 << 20) -> Iterator[bytes]:
        """Yield bytes of a metadata document or an instance."""
        if key.endswith(".json"):
            document = self.get(key)
            yield document[start : None if length is None else start + length]
            return
        instance = self._open_to_see(key)
        for piece in instance.read(ValueReader(self._objects, instance.original), start, length):
            yield from (piece[at : at + chunk] for at in range(0, len(piece), chunk))

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Open an instance for reading."""
        instance = self._open_to_see(key)
        with io.BufferedReader(_File(self._objects, instance), _CHUNK) as file:
            yield file

    def head(self, key: str) -> ObjectInfo | None:
        """Return what there is of a key, with no time."""
        try:
            found = self._instance(_instance_of(key))
        except NotFoundError:
            return None
        return ObjectInfo(key, len(found.document) if key.endswith(".json") else found.size, _NO_TIME)

    def check(self) -> None:
        """Check the store behind."""
        self._objects.check()


def _instance_of(key: str) -> str:
    return instance_key(key) if key.endswith(".json") else key


class _File(io.RawIOBase):
    """A de-identified instance, with ``seek`` and ``read``."""

    def __init__(self, objects: ObjectReader, instance: DeidentifiedInstance) -> None:
        super().__init__()
        self._instance = instance
        # One reader of values for all, since a deflated original is read forward alone.
        self._values = ValueReader(objects, instance.original)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._instance.size)[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # what BufferedReader gives
        data = b"".join(self._instance.read(self._values, self._position, len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
