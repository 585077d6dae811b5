"""Reads what is to be indexed from the object store, past whatever one object does to its reader."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

import structlog

from vna.domain.errors import (
    ArchiveError,
    ConfigurationError,
    NewerVersionError,
    NotFoundError,
    OutOfResourcesError,
)
from vna.domain.identity import OBJECT_PREFIX, instance_key, metadata_key
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.ingest import document
from vna.ingest.filemeta import content_digest
from vna.lifecycle.patience import Patience, StubbornError
from vna.lifecycle.reindex_report import ReindexReport
from vna.ports.objects import ObjectInfo, ObjectStore

log = structlog.get_logger(__name__)

_BATCH_BYTES = 32 << 20
"""JSON of one batch: a header may have as much alone."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A metadata document, and how many bytes there are of its instance."""

    info: ObjectInfo
    bytes: int


@dataclass(frozen=True, slots=True)
class Read:
    """An instance, and the key of the object that it was read from."""

    key: str
    instance: IndexedInstance


def is_of_service(error: Exception) -> bool:
    """Say whether an error is of the service that was asked, and not of what it was asked for."""
    if isinstance(error, StubbornError):
        return False
    return isinstance(error, ConfigurationError) or (isinstance(error, ArchiveError) and error.retry)


def bounded(listed: Iterable[Listed], most: int) -> Iterator[list[Listed]]:
    """Yield batches of so many documents, and no more than some MiB of them."""
    batch: list[Listed] = []
    size = 0
    for one in listed:
        if batch and (len(batch) >= most or size + one.info.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.info.size
    if batch:
        yield batch


class Reader:
    """Reads instances, and notes in a report what cannot be read as it is stored.

    Parameters
    ----------
    objects
        The object store.
    patience
        What a failing store is met with.
    report
        Where to note.
    temporary
        Folder for the copy of an object whose metadata document is missing; none: the system's.
    """

    def __init__(self, objects: ObjectStore, patience: Patience, report: ReindexReport, temporary: Path | None) -> None:
        self._objects = objects
        self._patience = patience
        self._report = report
        self._temporary = temporary

    def documents(self, since: datetime | None, orphans: list[ObjectInfo]) -> Iterator[Listed]:
        """Yield metadata documents that have bytes; collect bytes that have no document.

        Of documents older than ``since`` none is yielded; ``None`` is all.
        """
        before: ObjectInfo | None = None
        for info in self._list():
            if info.key.endswith(".dcm"):
                if before is not None:
                    orphans.append(before)
                before = info
                continue
            key = instance_key(info.key)
            present = before if before is not None and before.key == key else None
            if before is not None and present is None:
                orphans.append(before)
            before = None
            if since is not None and info.modified < since:
                continue
            # The listing may have passed the place of the bytes before they were put.
            present = present or self._head(key)
            if present is not None:
                yield Listed(info, present.size)
            else:
                self._report.without_bytes.note(info.key)
                log.warning("metadata document without bytes", key=info.key)
        if before is not None:
            orphans.append(before)

    def read(self, listed: Sequence[Listed]) -> list[Read]:
        """Return the instances of some documents; of a document that cannot be read, that of its bytes."""
        keys = [one.info.key for one in listed]
        try:
            found = self._patience.call(lambda: list(self._objects.get_many(keys)))
        except Exception as error:
            if is_of_service(error):
                raise
            log.warning("a batch cannot be read; its documents are read alone", error=str(error))
            return [read for one in listed for read in self._alone(one)]
        return [
            read
            for one, (_, data) in zip(listed, found, strict=True)
            if data is not None
            for read in self._of(one, data)
        ]

    def repair(self, info: ObjectInfo) -> list[Read]:
        """Return the instance of bytes that have no metadata document, and put one beside them."""
        key = metadata_key(info.key)
        # Only now: a worker that was between the two puts has put the document by this time.
        if self._head(key) is not None:
            return []
        try:
            built = self._build(info.key, int(info.modified.timestamp() * 1_000_000), Origin("import"))
            if built is None:
                return []
            if built.instance.key != info.key:
                self._unreadable(info.key, f"the bytes belong to the key {built.instance.key}")
                return []
            self._patience.call(lambda: self._objects.put(key, built.metadata, "application/dicom+json"))
        except Exception as error:
            if is_of_service(error):
                raise
            self._unreadable(info.key, _text(error))
            return []
        self._report.repaired.note(info.key)
        log.warning("made a missing metadata document", key=key)
        return [Read(key, built.instance)]

    def _list(self) -> Iterator[ObjectInfo]:
        after = ""
        listing = self._objects.list(OBJECT_PREFIX)

        def following() -> ObjectInfo | None:
            nonlocal listing
            try:
                return next(listing, None)
            except ArchiveError:
                # What raised has ended: the next attempt goes on behind the last key.
                listing = self._objects.list(OBJECT_PREFIX, after)
                raise

        while (info := self._patience.call(following)) is not None:
            after = info.key
            yield info

    def _head(self, key: str) -> ObjectInfo | None:
        return self._patience.call(lambda: self._objects.head(key))

    def _alone(self, listed: Listed) -> list[Read]:
        try:
            data = self._patience.call(lambda: self._objects.get(listed.info.key))
        except NotFoundError:  # deleted meanwhile
            return []
        except Exception as error:
            if is_of_service(error):
                raise
            return self._from_bytes(listed, _text(error), b"")
        return self._of(listed, data)

    def _of(self, listed: Listed, data: bytes) -> list[Read]:
        try:
            instance = document.rebuild(data)
        except NewerVersionError as error:
            self._report.newer.note((listed.info.key, str(error)))
            return self._from_bytes(listed, "", data)
        except Exception as error:  # noqa: BLE001 - whatever a document does to its reader is that document's affair
            return self._from_bytes(listed, _text(error), data)
        if instance.size != listed.bytes:
            key = instance_key(listed.info.key)
            self._report.differing.note((key, f"{listed.bytes} bytes are stored, {instance.size} were received"))
            log.error("the stored bytes are not those that were received", key=key)
        return [Read(listed.info.key, instance)]

    def _from_bytes(self, listed: Listed, reason: str, data: bytes) -> list[Read]:
        """Read an instance from its bytes for the index alone; when it came, and from whom, as its document tells."""
        key = listed.info.key
        stored = int(listed.info.modified.timestamp() * 1_000_000)
        received, origin = document.reception(data) or (stored, Origin("import"))
        built: document.Document | None = None
        try:
            built = self._build(instance_key(key), received, origin)
        except Exception as error:
            if is_of_service(error):
                raise
            reason = f"{reason or 'newer'}; nor can its bytes: {_text(error)}"
        if reason:
            self._unreadable(key, reason)
        return [] if built is None else [Read(key, built.instance)]

    def _build(self, key: str, received: int, origin: Origin) -> document.Document | None:
        with tempfile.NamedTemporaryFile(dir=self._temporary, suffix=".dcm") as copy:

            def fetch() -> None:
                copy.seek(0)
                copy.truncate()
                with self._objects.open(key) as source:
                    shutil.copyfileobj(source, copy, 1 << 20)

            try:
                self._patience.call(fetch)
                copy.flush()
                copy.seek(0)
                digest, size = content_digest(cast("BinaryIO", copy))
            except NotFoundError:  # deleted meanwhile
                return None
            except OSError as error:
                raise OutOfResourcesError(f"a copy of an object cannot be kept in {copy.name}: {error}") from error
            return document.build(Path(copy.name), digest, size, received, origin)

    def _unreadable(self, key: str, reason: str) -> None:
        log.warning("cannot be indexed as stored", key=key, error=reason)
        self._report.unreadable.note((key, reason))


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, ArchiveError) else f"{type(error).__name__}: {error}"
