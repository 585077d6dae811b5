"""Committing: from spool entries to stored and searchable instances.

The steps of a batch, and what a crash after each leaves:

1. Each entry is hashed and read into its metadata. Nothing has changed yet.
2. All bytes and all metadata documents are put in one batch, bytes first. A
   crash within leaves some of them. Each key follows from the content, so the
   entry, which is still in the spool, is put again to the same keys. Neither
   half alone ever counts as an instance: a reindex takes a metadata document
   only with its bytes, and makes a missing one from the bytes (see
   ``vna.lifecycle.reindex``).
3. The index is given all instances in one batch, from the metadata *in the
   store*: where the store had a document already, that one is read, so the
   index is what a reindex would make it.
4. Conflicts are written down as facts.
5. The entries are marked as done with, durably.

Errors of the services end the batch and are raised; whoever called tries again
later. Errors of an entry never touch the others of its batch. An entry is
blamed only after the services, asked whether they take anything at all, said
yes; and when a sender's entries are refused one after the other, without end,
they wait for a person rather than fill the quarantine.
"""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from vna.domain.errors import (
    ArchiveError,
    ConfigurationError,
    IntegrityError,
    InvalidInputError,
    OutOfResourcesError,
)
from vna.domain.file_range import FileRange
from vna.domain.identity import metadata_key
from vna.domain.origin import Origin
from vna.domain.records import IndexedInstance
from vna.ingest import document
from vna.ingest.brake import RefusalBrake
from vna.ingest.conflict import note_conflicts
from vna.ingest.filemeta import digest_and_checksum, digest_of
from vna.ingest.journal import Journal
from vna.ingest.mend import Proved, mend_document, mend_instances
from vna.ingest.quarantine import TORN, Quarantine, torn, torn_size
from vna.ingest.spool import Spool, SpoolEntry
from vna.ports.index import Index, Outcome, Upserted
from vna.ports.objects import ObjectStore, Put

log = structlog.get_logger(__name__)

_DICOM = "application/dicom"
_JSON = "application/dicom+json"
_BUFFER = 1 << 20
# Up to this size an instance is read once, and hashed, parsed and put from memory.
_IN_MEMORY = 1 << 20
# Bytes in memory, and of metadata, at which a batch is stored before more of it is read.
_BATCH_BYTES = 48 << 20
# How often entries are tried in vain, while services take other things, before they are taken apart, and blamed.
_STUCK_TOGETHER = 3
_STUCK_ALONE = 10
# Errors of the machine, not of the file that was read.
_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


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
class _Ready:
    entry: SpoolEntry
    content: FileRange | bytes
    instance: IndexedInstance
    metadata: bytes

    @property
    def in_memory(self) -> int:
        """Bytes that it holds."""
        return len(self.metadata) + (len(self.content) if isinstance(self.content, bytes) else 0)


class Committer:
    """Commits spool entries. Safe to call from several threads, one at a time works.

    Parameters
    ----------
    spool, journal, quarantine
        The spool, and its journal and quarantine.
    objects, index
        Where instances go.
    max_attempts
        Failed attempts after which an entry goes to quarantine.
    build, rebuild
        How a file becomes a document, and a stored document an instance.
    interrupts
        What the caller's own machinery raises into a call that takes too long.
        While an entry is read that is the entry's fault; while a batch is stored it is nobody's.
    on_committed
        Told of each batch when it is stored and indexed, before its entries leave the spool.
    brake
        Says when a sender's entries are no longer put in quarantine; ``None`` for never.
    before_first
        Called before the first batch is stored, again for the next one if it raises.
    """

    def __init__(
        self,
        spool: Spool,
        objects: ObjectStore,
        index: Index,
        journal: Journal,
        quarantine: Quarantine,
        *,
        max_attempts: int = 3,
        build: Build = document.build,
        rebuild: Rebuild = document.rebuild,
        interrupts: tuple[type[Exception], ...] = (),
        on_committed: OnCommitted = lambda _instances, _outcomes: None,
        brake: RefusalBrake | None = None,
        before_first: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool = spool
        self._objects = objects
        self._index = index
        self._journal = journal
        self._quarantine = quarantine
        self._max_attempts = max_attempts
        self._build = build
        self._rebuild = rebuild
        self._interrupts = interrupts
        self._on_committed = on_committed
        self._brake = brake
        self._before_first: Callable[[], None] | None = before_first
        self._buffer = memoryview(bytearray(_BUFFER))
        self._failing = False
        self._refusals: Counter[str] = Counter()
        self._one = threading.Lock()

    def commit(self, names: Sequence[str]) -> CommitReport:
        """Commit entries by name. Idempotent; entries that failed before are taken one by one, last.

        Raises
        ------
        UnavailableError, OutOfResourcesError
            The object store or the index did not do its part. The entries that
            are not done are still in the spool.
        """
        report = CommitReport()
        entries = _parse(names)
        suspects = self._journal.suspects()
        together = [entry for entry in entries if entry.name not in suspects]
        with self._one:
            if self._failing:
                # Reading a batch that cannot be stored costs more than asking first.
                self._ask_services()
                self._failing = False
            try:
                if self._before_first is not None:
                    self._before_first()
                    self._before_first = None
                self._batch(together, report)
                for entry in entries:
                    if entry.name in suspects:
                        self._alone(entry, report)
            except ArchiveError as error:
                self._failing = error.retry
                raise
        return report

    def close(self) -> None:
        """Give back the journal's note."""
        self._journal.close()

    def _ask_services(self) -> None:
        """Raise what the services raise if they would not take anything at all."""
        self._objects.check()
        self._index.check()

    def _alone(self, entry: SpoolEntry, report: CommitReport) -> None:
        known = self._journal.get(entry.name)
        if known is not None and known.held:
            report.held.append(entry.name)
        elif known is not None and known.count >= self._max_attempts:
            # It may be what kills the process that reads it, so nobody reads it once more.
            self._journal.begin([entry.name])
            try:
                self._give_up(entry, report, known.error, "AttemptsExhausted", known.count)
            except Exception:
                self._journal.end()
                raise
            # As in a batch, not in a finally.
            self._journal.end()
        else:
            self._batch([entry], report)
            if not self._spool.waits(entry):
                self._journal.forget(entry.name)

    def _batch(self, entries: Sequence[SpoolEntry], report: CommitReport) -> None:
        if not entries:
            return
        self._journal.begin([entry.name for entry in entries])
        ready: list[_Ready] = []
        refused: Exception | None = None
        storing = False
        done = held = 0
        try:
            for position, entry in enumerate(entries):
                if held > _BATCH_BYTES:
                    break
                self._journal.parsing(position)
                made = self._prepare(entry, report)
                done = position + 1
                if made is not None:
                    ready.append(made)
                    held += made.in_memory
            storing = True
            self._journal.storing()
            self._store(ready, report)
        except Exception as error:
            self._journal.end()
            if isinstance(error, (ConfigurationError, *self._interrupts)) or not storing:
                raise
            # Before anything is blamed: is it the service that takes nothing at all?
            self._ask_services()
            if getattr(error, "retry", False) and not self._stuck([item.entry for item in ready]):
                raise
            refused = error
        else:
            # Not in a finally: a process that is told to exit here, as one is that ran into a hard time limit,
            # leaves its note behind like one that was killed.
            self._journal.end()
        if refused is not None:
            self._isolate([item.entry for item in ready], report, refused)
        self._batch(entries[done:], report)

    def _stuck(self, entries: Sequence[SpoolEntry]) -> bool:
        """Count that entries were not taken by services that take others; return whether that is so again and again.

        A refusal of a kind that nobody knows counts as one of the service, which it mostly is. One that is an entry's
        own must not hold up its neighbours for ever.
        """
        alone = len(entries) == 1
        for entry in entries:
            self._refusals[entry.name] += 1
        most = max((self._refusals[entry.name] for entry in entries), default=0)
        if most < (_STUCK_ALONE if alone else _STUCK_TOGETHER):
            return False
        for entry in entries:
            del self._refusals[entry.name]
        return True

    def _isolate(self, entries: Sequence[SpoolEntry], report: CommitReport, error: Exception) -> None:
        """Find which entry it is that a store or an index refuses for good, by taking each alone."""
        if len(entries) == 1:
            self._failed(entries[0], report, error)
            return
        log.warning("a batch was refused; its entries are taken alone", entries=len(entries), error=str(error))
        for entry in entries:
            self._journal.suspect(entry.name)
        for entry in entries:
            self._alone(entry, report)

    # Step 1.

    def _prepare(self, entry: SpoolEntry, report: CommitReport) -> _Ready | None:
        try:
            source = self._spool.source(entry)
            if (size := torn_size(entry, source)) is not None:
                self._give_up(entry, report, torn(entry, size), TORN, 0)
                return None
            content, digest = self._read(source)
            built = self._build(content, digest, entry.length, entry.received_us, entry.origin)
        except FileNotFoundError:
            report.gone += 1
        except InvalidInputError as error:
            self._refuse(entry, report, error)
        except IntegrityError as error:
            # Another worker may have done with it since, and the place been used again.
            if self._spool.waits(entry):
                self._failed(entry, report, error)
            else:
                report.gone += 1
        except ArchiveError as error:
            if error.retry:
                raise
            self._failed(entry, report, error)
        except OSError as error:
            if error.errno in _MACHINE:
                raise OutOfResourcesError(f"reading {entry.name}: {error}") from error
            self._failed(entry, report, error)
        except Exception as error:  # noqa: BLE001 - whatever an object does to its reader is that object's affair
            self._failed(entry, report, error)
        else:
            return _Ready(entry, content, built.instance, built.metadata)
        return None

    def _read(self, source: FileRange) -> tuple[FileRange | bytes, str]:
        """Return what is put of an entry, and its digest; the bytes compared with those that were received."""
        if source.length <= _IN_MEMORY:
            data = source.read()
            return data, digest_of(data)
        with source.open() as file:
            digest, size, checksum = digest_and_checksum(file, self._buffer)
        if size != source.length or (source.checksum is not None and checksum != source.checksum):
            raise IntegrityError(f"{source}: the bytes are not those that were received")
        return source, digest

    def _refuse(self, entry: SpoolEntry, report: CommitReport, error: InvalidInputError) -> None:
        """Put what is no instance in quarantine, unless its sender sends nothing else."""
        if self._brake is None or self._brake.allows(entry.origin):
            done = self._give_up(entry, report, str(error), type(error).__name__, 1)
            # Counted once it is done with: one that comes again and again is one refusal.
            if done and self._brake is not None:
                self._brake.refused(entry.origin)
            return
        self._brake.refused(entry.origin)
        self._journal.hold(entry.name, f"{type(error).__name__}: {error}")
        report.held.append(entry.name)
        log.error(
            "refused, and kept in the spool: so is all of late from its sender", entry=entry.name, error=str(error)
        )

    def _failed(self, entry: SpoolEntry, report: CommitReport, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        known = self._journal.add(entry.name, text)
        unexpected = None if isinstance(error, ArchiveError) else error
        log.warning("an entry failed", entry=entry.name, attempt=known.count, error=text, exc_info=unexpected)
        if known.count >= self._max_attempts:
            self._give_up(entry, report, text, type(error).__name__, known.count)
        else:
            report.failed.append(entry.name)

    def _give_up(self, entry: SpoolEntry, report: CommitReport, reason: str, error: str, attempts: int) -> bool:
        """Put an entry in quarantine; return whether it is there now."""
        try:
            item = self._quarantine.put(entry, reason, error, attempts)
        except (OSError, IntegrityError) as trouble:
            if isinstance(trouble, FileNotFoundError) and not self._spool.waits(entry):
                report.gone += 1
            else:
                self._stays(entry, report, reason, trouble)
            return False
        report.quarantined.append(entry.name)
        report.reasons[entry.name] = reason
        log.warning("quarantined", id=item.id, entry=entry.name, error=error, reason=reason, attempts=attempts)
        return True

    def _stays(self, entry: SpoolEntry, report: CommitReport, reason: str, trouble: Exception) -> None:
        """Leave in the spool what the disk of the quarantine does not take; its neighbours wait for nothing."""
        if isinstance(trouble, OSError):
            self._spool.note_trouble(trouble)
        if self._journal.get(entry.name) is None:
            self._journal.add(entry.name, reason)
        report.failed.append(entry.name)
        log.error("an entry cannot be put in quarantine, and stays in the spool", entry=entry.name, error=str(trouble))

    # Steps 2 to 5.

    def _store(self, ready: Sequence[_Ready], report: CommitReport) -> None:
        unique = self._put(_unique(ready), report)
        instances = [item.instance for item in unique]
        outcomes = self._index.upsert(instances) if instances else []
        report.conflicts += note_conflicts(self._objects, self._index, instances, outcomes)
        self._on_committed(instances, outcomes)
        keys = {instance.key for instance in instances}
        done = [item for item in ready if item.instance.key in keys]
        self._spool.finish(item.entry for item in done)
        for item in done if self._refusals else ():
            self._refusals.pop(item.entry.name, None)
        if self._brake is not None:
            self._brake.accepted({item.entry.origin for item in done})
        stored = sum(found.outcome is not Outcome.DUPLICATE for found in outcomes)
        report.stored += stored
        report.duplicates += len(done) - stored
        report.gone += len(ready) - len(done)
        report.bytes += sum(instance.size for instance in instances)

    def _put(self, ready: list[_Ready], report: CommitReport) -> list[_Ready]:
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
        self, ready: Sequence[_Ready], puts: Sequence[Put], stored: Sequence[bool], report: CommitReport
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

    def _as_stored(self, ready: list[_Ready], new: Sequence[bool]) -> list[_Ready]:
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


def _parse(names: Sequence[str]) -> list[SpoolEntry]:
    entries = []
    for name in dict.fromkeys(names):
        try:
            entry = SpoolEntry.parse(name)
        except ValueError:
            log.warning("a message named what is no spool entry", name=name[:300])
            continue
        if entry.to_commit:
            entries.append(entry)
    return entries


def _unique(ready: Sequence[_Ready]) -> list[_Ready]:
    """Of several entries with the same content, keep the one received first."""
    first: dict[str, _Ready] = {}
    for item in ready:
        known = first.setdefault(item.instance.key, item)
        if item.entry.received_us < known.entry.received_us:
            first[item.instance.key] = item
    return list(first.values())
