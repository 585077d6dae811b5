"""Storing what was read: steps 2 to 5 of :mod:`vna.ingest.commit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from vna.domain.errors import ArchiveError, IntegrityError, InvalidInputError
from vna.domain.file_range import FileRange
from vna.domain.identity import metadata_key
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.ingest.brake import RefusalBrake
from vna.ingest.conflict import note_conflicts
from vna.ingest.mend import Proved, mend_document, mend_instances
from vna.ingest.spool import Spool, SpoolEntry
from vna.ports.index import Index, Outcome, Upserted
from vna.ports.objects import ObjectStore, Put

log = structlog.get_logger(__name__)

_DICOM = "application/dicom"
_JSON = "application/dicom+json"


class Built(Protocol):
    """What :data:`Build` returns: an instance for the index, and its metadata document."""

    @property
    def instance(self) -> IndexedInstance:
        """The instance."""

    @property
    def metadata(self) -> bytes:
        """The metadata document to be stored beside the bytes."""


Build = Callable[[FileRange | bytes, str, int, int, Origin], Built]
Rebuild = Callable[[bytes], IndexedInstance]
OnCommitted = Callable[[Sequence[IndexedInstance], Sequence[Upserted]], None]


@dataclass(slots=True)
class CommitReport:
    """What became of the entries of one call.

    Attributes
    ----------
    stored, duplicates, conflicts
        Instances by what the index found; a conflict is stored as well.
    quarantined
        Names of entries that were put in quarantine.
    reasons
        Why, by name.
    failed
        Names of entries that failed for an unexpected reason and will be tried again, alone.
    held
        Names of entries that were refused, and wait for a person to look at why so many of their sender are.
    mended
        Keys of objects that were damaged, and are good again by what was received.
    gone
        How many names had no entry any more: somebody else has done them.
    bytes
        Bytes of the instances that were committed.
    """

    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    gone: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """An entry that was read, and is to be stored."""

    entry: SpoolEntry
    content: FileRange | bytes
    instance: IndexedInstance
    metadata: bytes

    @property
    def in_memory(self) -> int:
        """Bytes that it holds."""
        return len(self.metadata) + (len(self.content) if isinstance(self.content, bytes) else 0)


class Storer:
    """Puts batches into the object store and the index.

    Parameters
    ----------
    spool
        Where the entries are.
    objects, index
        Where instances go.
    rebuild
        How a stored document becomes an instance.
    on_committed
        Told of each batch when it is stored and indexed, before its entries leave the spool.
    brake
        Told of the senders whose entries were stored.
    """

    def __init__(  # noqa: PLR0917 - as many parts as it joins
        self,
        spool: Spool,
        objects: ObjectStore,
        index: Index,
        rebuild: Rebuild,
        on_committed: OnCommitted,
        brake: RefusalBrake | None,
    ) -> None:
        self._spool = spool
        self._objects = objects
        self._index = index
        self._rebuild = rebuild
        self._on_committed = on_committed
        self._brake = brake

    def store(self, ready: Sequence[Ready], report: CommitReport) -> list[SpoolEntry]:
        """Store and index what was read, and be done with its entries; return those.

        Raises
        ------
        ArchiveError
            What the store or the index raise; the entries are still in the spool.
        """
        unique = self._put(_unique(ready), report)
        instances = [item.instance for item in unique]
        outcomes = self._index.upsert(instances) if instances else []
        report.conflicts += note_conflicts(self._objects, self._index, instances, outcomes)
        self._on_committed(instances, outcomes)
        keys = {instance.key for instance in instances}
        done = [item for item in ready if item.instance.key in keys]
        self._spool.finish(item.entry for item in done)
        if self._brake is not None:
            self._brake.accepted({item.entry.origin for item in done})
        stored = sum(found.outcome is not Outcome.DUPLICATE for found in outcomes)
        report.stored += stored
        report.duplicates += len(done) - stored
        report.gone += len(ready) - len(done)
        report.bytes += sum(instance.size for instance in instances)
        return [item.entry for item in done]

    def _put(self, ready: list[Ready], report: CommitReport) -> list[Ready]:
        while ready:
            # A file of its own becomes the object; of a segment the store makes a copy.
            puts = [Put(item.instance.key, item.content, _DICOM, linkable=item.entry.segment < 0) for item in ready]
            puts += [Put(metadata_key(item.instance.key), item.metadata, _JSON) for item in ready]
            try:
                stored = self._objects.put_batch(puts)
                new = self._compared(ready, puts, stored, report)
            except (ArchiveError, FileNotFoundError):
                # Another worker may have committed some of them since, and removed their files.
                left = [item for item in ready if self._spool.waits(item.entry)]
                if len(left) == len(ready):
                    raise
                ready = left
            else:
                return self._as_stored(ready, new)
        return ready

    def _compared(
        self, ready: Sequence[Ready], puts: Sequence[Put], stored: Sequence[bool], report: CommitReport
    ) -> list[bool]:
        """Mend what was there already and is not what it should be; return which documents are of this batch.

        The bytes that were received are about to be dropped for those that are there.
        """
        count = len(ready)
        there = [number for number in range(count) if not stored[number]]
        proved = [Proved(puts[number], ready[number].instance.digest) for number in there]
        report.mended += mend_instances(self._objects, proved)
        new = list(stored[count:])
        for number, item in enumerate(ready):
            if not new[number] and mend_document(self._objects, puts[count + number], item.instance.digest):
                report.mended.append(puts[count + number].key)
                new[number] = True
        return new

    def _as_stored(self, ready: list[Ready], new: Sequence[bool]) -> list[Ready]:
        """Take the metadata that the store had already in place of one's own."""
        old = {metadata_key(item.instance.key): place for place, item in enumerate(ready) if not new[place]}
        if not old:
            return ready
        taken = list(ready)
        for key, data in self._objects.get_many(list(old)):
            place = old[key]
            try:
                if data is not None:
                    taken[place] = replace(taken[place], instance=self._rebuild(data))
            except (InvalidInputError, IntegrityError) as error:
                log.warning("stored metadata cannot be read", key=key, error=str(error))
        return taken


def _unique(ready: Sequence[Ready]) -> list[Ready]:
    """Of several entries with the same content, keep the one received first."""
    first: dict[str, Ready] = {}
    for item in ready:
        known = first.setdefault(item.instance.key, item)
        if item.entry.received_us < known.entry.received_us:
            first[item.instance.key] = item
    return list(first.values())
