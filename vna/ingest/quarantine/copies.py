"""The copies in the object store of what is in quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vna.domain.errors import ConflictError, IntegrityError, NotFoundError
from vna.domain.file_range import FileRange
from vna.ingest.quarantine.copying import Copied, copy
from vna.ingest.quarantine.item import as_received, key_of, key_of_reason
from vna.ingest.spool import SpoolEntry
from vna.ports.objects import ObjectStore, Put


class Copies:
    """Copies of bytes and of reasons, by the name of the entry. Raises what the store does."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def put(self, entry: SpoolEntry, path: Path, copied: Copied, document: bytes) -> None:
        """Put an entry's bytes, which are in a file, and its reason; both are durable on return."""
        self.ensure(entry, path, copied)
        self._objects.replace(key_of_reason(entry.name), document)

    def ensure(self, entry: SpoolEntry, path: Path, copied: Copied) -> None:
        """Put an entry's bytes; over what is there already only if that is damaged and these are not."""
        # A run of bytes, not a file: a link would have what spoils the one spoil the other.
        put = Put(key_of(entry.name), FileRange(path, 0, copied.size, copied.checksum), "application/dicom")
        if self._objects.put_batch([put])[0] or not as_received(entry, copied):
            return
        with suppress(NotFoundError, IntegrityError):
            if copy(self.parts(entry.name)).digest == copied.digest:
                return
        self._objects.mend(put)

    def there(self, name: str) -> bool:
        """Whether there is a copy of an entry's bytes."""
        return self._objects.head(key_of(name)) is not None

    def parts(self, name: str) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes of a copy, as :func:`vna.ingest.quarantine.copying.parts_of` does."""
        return ((piece, 0) for piece in self._objects.stream(key_of(name)))

    def remove(self, name: str) -> None:
        """Remove the copies; a store that retains everything keeps them, which does no harm."""
        for key in (key_of(name), key_of_reason(name)):
            with suppress(ConflictError):
                self._objects.delete(key)
