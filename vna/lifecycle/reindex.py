"""Rebuild the index from the object store, beside the old one, without reading pixel data.

What counts as an instance is a pair: the bytes and their metadata document. They
lie beside each other in key order. A document without bytes is no instance (a
crash came between two puts, and the spool entry will bring the bytes): it is
reported and left out. Bytes without a document are read once, and the document
is made. A document that cannot be read is made anew from its bytes for the
index, and reported.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import structlog

from vna.domain.batches import batches
from vna.domain.errors import IntegrityError, InvalidInputError, NotFoundError
from vna.domain.identity import OBJECT_PREFIX, instance_key, metadata_key
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.ingest import document
from vna.ingest.filemeta import content_digest
from vna.ports.index import Index, Outcome
from vna.ports.objects import ObjectInfo, ObjectStore

_T = TypeVar("_T")
log = structlog.get_logger(__name__)

# The store's clock and ours may differ by so much.
_CLOCKS = timedelta(minutes=15)
# Keys of one kind of trouble that a report names.
_NAMED = 1000


@dataclass(slots=True)
class ReindexReport:
    """What a reindex found.

    Attributes
    ----------
    instances
        Instances that are in the new index; conflicting contents count each.
    late
        How many of them were added after the swap, stored since the reindex began.
    repaired
        Keys of bytes whose metadata document was missing and has been made.
    unreadable
        Keys, with the reason, of what could not be indexed as it is stored.
    without_bytes
        Keys of metadata documents that have no bytes: not indexed.
    """

    instances: int = 0
    late: int = 0
    repaired: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    without_bytes: list[str] = field(default_factory=list)


def reindex(
    objects: ObjectStore,
    index: Index,
    progress: Callable[[int], None] = lambda _done: None,
    *,
    batch: int = 500,
    temporary: Path | None = None,
) -> ReindexReport:
    """Build a new index from the object store and put it in the place of the old one.

    Parameters
    ----------
    objects, index
        The store to read, and the index to rebuild.
    progress
        Called with the number of instances done, after each batch.
    batch
        Instances of one upsert.
    temporary
        Folder for the copy of an object whose metadata document is missing; none: the system's.

    Raises
    ------
    ConflictError
        Another reindex is under way.
    UnavailableError
        The store or the index failed; the old index is still the one in use.
    """
    work = _Reindex(objects, progress, batch, temporary)
    begin = datetime.now(UTC)
    with index.rebuild() as fresh:
        work.run(fresh, None)
    # A worker that knew nothing of the rebuild may have written to the old index alone: look again at what is new.
    work.run(index, begin - _CLOCKS)
    return work.report


class _Reindex:
    def __init__(
        self, objects: ObjectStore, progress: Callable[[int], None], batch: int, temporary: Path | None
    ) -> None:
        self.report = ReindexReport()
        self._objects = objects
        self._progress = progress
        self._batch = batch
        self._temporary = temporary

    def run(self, index: Index, since: datetime | None) -> None:
        """Add what was stored since a time; ``None`` is the first pass, over everything."""
        late = since is not None
        orphans: list[ObjectInfo] = []
        for infos in batches(self._documents(since, orphans), self._batch):
            self._add(index, self._read(infos), late=late)
        # Only now: a worker that was between the two puts has put the document by this time.
        for info in orphans:
            if self._objects.head(metadata_key(info.key)) is None:
                self._add(index, self._repair(info), late=late)

    def _add(self, index: Index, instances: Sequence[IndexedInstance], *, late: bool) -> None:
        if not instances:
            return
        outcomes = index.upsert(instances)
        new = sum(found.outcome is not Outcome.DUPLICATE for found in outcomes)
        self.report.instances += new
        if late:
            self.report.late += new
        self._progress(self.report.instances)

    def _documents(self, since: datetime | None, orphans: list[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Yield metadata documents that have bytes; collect bytes that have no document."""
        bytes_before: ObjectInfo | None = None
        for info in self._objects.list(OBJECT_PREFIX):
            if info.key.endswith(".dcm"):
                if bytes_before is not None:
                    orphans.append(bytes_before)
                bytes_before = info
                continue
            key = instance_key(info.key)
            present = bytes_before is not None and bytes_before.key == key
            if bytes_before is not None and not present:
                orphans.append(bytes_before)
            bytes_before = None
            if since is not None and info.modified < since:
                continue
            # The listing may have passed the place of the bytes before they were put.
            if present or self._objects.head(key) is not None:
                yield info
            elif info.key not in self.report.without_bytes:
                self._note(self.report.without_bytes, info.key)
                log.warning("metadata document without bytes", key=info.key)
        if bytes_before is not None:
            orphans.append(bytes_before)

    def _read(self, infos: Sequence[ObjectInfo]) -> list[IndexedInstance]:
        instances = []
        for info, (key, data) in zip(infos, self._objects.get_many([info.key for info in infos]), strict=True):
            if data is None:  # deleted meanwhile
                continue
            try:
                instances.append(document.rebuild(data))
            except (IntegrityError, InvalidInputError) as error:
                self._unreadable(key, error)
                built = self._build(info, instance_key(key))
                if built is not None:
                    instances.append(built.instance)
        return instances

    def _repair(self, info: ObjectInfo) -> list[IndexedInstance]:
        built = self._build(info, info.key)
        if built is None:
            return []
        key = metadata_key(built.instance.key)
        if built.instance.key != info.key:
            self._unreadable(info.key, IntegrityError(f"the bytes belong to the key {built.instance.key}"))
            return []
        self._objects.put(key, built.metadata, "application/dicom+json")
        self._note(self.report.repaired, info.key)
        log.warning("made a missing metadata document", key=key)
        return [built.instance]

    def _build(self, info: ObjectInfo, key: str) -> document.Document | None:
        """Read an instance from its bytes; when it came and from whom is lost, but for the time it was stored."""
        with tempfile.NamedTemporaryFile(dir=self._temporary, suffix=".dcm") as copy:
            try:
                with self._objects.open(key) as source:
                    shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                copy.seek(0)
                digest, size = content_digest(cast("BinaryIO", copy))
                received = int(info.modified.timestamp() * 1_000_000)
                return document.build(Path(copy.name), digest, size, received, Origin("import"))
            except NotFoundError:  # deleted meanwhile
                return None
            except InvalidInputError as error:
                self._unreadable(key, error)
                return None

    def _unreadable(self, key: str, error: Exception) -> None:
        log.warning("cannot be indexed as stored", key=key, error=str(error))
        self._note(self.report.unreadable, (key, str(error)))

    @staticmethod
    def _note(notes: list[_T], note: _T) -> None:
        if len(notes) < _NAMED and note not in notes:
            notes.append(note)
