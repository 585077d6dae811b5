"""What is in a spool: entries are found, read and done with. For processes that own none of the segments."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vna.domain.file_range import FileRange
from vna.files import sync_folder
from vna.ingest.spool.entry import SpoolEntry
from vna.ingest.spool.files import EntryFiles
from vna.ingest.spool.layout import POISONED, Header, Slot
from vna.ingest.spool.reading import NotASegmentError, SegmentReader
from vna.ingest.spool.segment import SUFFIX, remove_draft, remove_if_drained

_READERS = 256
_GENERATIONS = 4096


@dataclass(slots=True)
class Spooled:
    """What is in a spool.

    Attributes
    ----------
    entries, bytes
        Entries, and their bytes (0 if they were not asked for).
    oldest_us
        When the oldest of them was received, microseconds since 1970; 0 if there is none.
    unknown
        Entries of a kind that this version does not know, and files that are no entries. They are kept.
    damaged
        Places in segments that cannot be read, and files that are no segments. They are kept, too.
    """

    entries: int = 0
    bytes: int = 0
    oldest_us: int = 0
    unknown: int = 0
    damaged: int = 0

    def add(self, entry: SpoolEntry) -> None:
        """Count an entry."""
        self.entries += 1
        self.bytes += entry.length
        self.oldest_us = min(self.oldest_us or entry.received_us, entry.received_us)
        self.unknown += not entry.known


class Contents:
    """The entries of a spool. Safe for use by many threads and processes.

    Parameters
    ----------
    segments
        Folder of the segments.
    files
        The entries in files of their own.
    """

    def __init__(self, segments: Path, files: EntryFiles) -> None:
        self._segments = segments
        self._files = files
        # Used under the lock alone: one that is closed to make room must not be another's.
        self._readers: OrderedDict[int, SegmentReader] = OrderedDict()
        # What was read of late is finished soon.
        self._generations: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.RLock()

    def in_segments(self) -> Iterator[SpoolEntry]:
        """Yield what waits in segments, of the one that was begun first first. Reads as it goes."""
        for reader, header in self._all():
            used = reader.used(header)
            marks = reader.marks(header, used)
            first = next((number for number, done in enumerate(marks) if not done), used)
            for number, slot in reader.slots(header, first):
                if number < used and marks[number]:
                    continue
                if (entry := _entry(header, number, slot)) and (number < used or not reader.is_done(header, number)):
                    yield entry

    def in_files(self) -> Iterator[SpoolEntry]:
        """Yield what waits in files, in no order."""
        return (entry for entry in self._files.entries() if entry is not None)

    def count(self, *, with_bytes: bool = False) -> Spooled:
        """Return what waits, without reading each entry unless its bytes are asked for."""
        found = Spooled()
        for reader, header in self._all(found):
            used = reader.used(header)
            waiting = used - reader.done(header, used)
            if waiting and with_bytes:
                self._count_each(reader, header, used, found)
            elif waiting:
                found.entries += waiting
                if (oldest := self._first(reader, header, used)) is not None:
                    found.oldest_us = min(found.oldest_us or oldest.received_us, oldest.received_us)
        for entry in self._files.entries():
            if entry is None:
                found.unknown += 1
            else:
                found.add(entry)
        return found

    @staticmethod
    def _first(reader: SegmentReader, header: Header, used: int) -> SpoolEntry | None:
        marks = reader.marks(header, used)
        first = next((number for number, done in enumerate(marks) if not done), used)
        return next(
            (entry for number, slot in reader.slots(header, first) if (entry := _entry(header, number, slot))), None
        )

    @staticmethod
    def _count_each(reader: SegmentReader, header: Header, used: int, found: Spooled) -> None:
        marks = reader.marks(header, used)
        for number, slot in reader.slots(header):
            if number < used and marks[number]:
                continue
            if entry := _entry(header, number, slot):
                found.add(entry)
            else:
                found.damaged += 1

    def _all(self, found: Spooled | None = None) -> Iterator[tuple[SegmentReader, Header]]:
        """Yield the segments, open, the one that was begun first first."""
        segments = []
        for path in self._segments.glob(f"*{SUFFIX}"):
            try:
                with closing(SegmentReader(path)) as reader:
                    segments.append((reader.header(), path))
            except FileNotFoundError:
                continue
            except (OSError, NotASegmentError):
                if found is not None:
                    found.damaged += 1
        for header, path in sorted(segments, key=lambda each: (each[0].started_us, each[0].number)):
            with contextlib.suppress(FileNotFoundError), closing(SegmentReader(path)) as reader:
                yield reader, header

    def _reader(self, number: int) -> SegmentReader:
        with self._lock:
            reader = self._readers.get(number)
            if reader is None:
                reader = self._readers[number] = SegmentReader(f"{self._segments}/{number:012x}{SUFFIX}")
                if len(self._readers) > _READERS:
                    self._readers.popitem(last=False)[1].close()
            else:
                self._readers.move_to_end(number)
            return reader

    def waits(self, entry: SpoolEntry) -> bool:
        """Whether an entry is here and not done with; so it is, too, if that cannot be read."""
        if entry.segment < 0:
            return self._files.find(entry).exists()
        try:
            return self._slot(entry) is not None
        except OSError:
            return True

    def _slot(self, entry: SpoolEntry) -> Slot | None:
        """Return the slot of an entry that is not done with; raises ``OSError`` if it cannot be read."""
        with self._lock:
            try:
                slot = self._reader(entry.segment).waiting(entry.slot, entry.name)
            except (FileNotFoundError, NotASegmentError):
                return None
            if slot is not None:
                self._generations[entry.name] = slot.generation
                if len(self._generations) > _GENERATIONS:
                    self._generations.popitem(last=False)
            return slot

    def source(self, entry: SpoolEntry) -> FileRange:
        """Return where an entry's bytes are.

        Raises
        ------
        FileNotFoundError
            It is done with, or was never here.
        """
        if entry.segment < 0:
            path = self._files.find(entry)
            if not path.exists():
                raise FileNotFoundError(path)
            return FileRange(path, 0, entry.length, entry.checksum)
        slot = self._slot(entry)
        if slot is None:
            raise FileNotFoundError(entry.name)
        path = self._segments / f"{entry.segment:012x}{SUFFIX}"
        return FileRange(path, slot.offset, slot.length, slot.checksum)

    def finish(self, entries: Iterable[SpoolEntry]) -> None:
        """Be done with entries: what they stand for is durable elsewhere. Durable on return, for those in segments.

        An entry in a file of its own that a power cut brings back is stored once more, as a duplicate.

        Raises
        ------
        UnavailableError
            The disk does not take it.
        """
        marks: dict[int, list[SpoolEntry]] = {}
        for entry in entries:
            if entry.segment < 0:
                self._files.find(entry).unlink(missing_ok=True)
            else:
                marks.setdefault(entry.segment, []).append(entry)
        with self._lock:
            for number, done in marks.items():
                with contextlib.suppress(FileNotFoundError, NotASegmentError):
                    reader = self._reader(number)
                    if slots := {entry.slot: generation for entry in done if (generation := self._generation(entry))}:
                        reader.finish(slots)

    def _generation(self, entry: SpoolEntry) -> int:
        """Return the generation of an entry's slot, 0 for one that is done with."""
        known = self._generations.pop(entry.name, 0)
        if not known and (slot := self._slot(entry)) is not None:
            return slot.generation
        return known

    def trim(self, keep: int) -> int:
        """Remove emptied segments that nobody owns, beyond those that are kept to be used again; return how many."""
        removed = kept = 0
        for draft in self._segments.glob(".*"):
            with contextlib.suppress(OSError):
                remove_draft(draft)
        for reader, header in self._all():
            used = reader.used(header)
            if used > reader.done(header, used):
                continue
            kept += 1
            if kept > keep or reader.note(header).flags & POISONED:
                with contextlib.suppress(OSError):
                    removed += remove_if_drained(reader.path)
        if removed:
            with contextlib.suppress(OSError):
                sync_folder(self._segments)
        return removed

    def close(self) -> None:
        """Close the segments."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()


def _entry(header: Header, number: int, slot: Slot | None) -> SpoolEntry | None:
    """Return the entry of a slot; ``None`` if it is damaged, or is not of this place."""
    if slot is None:
        return None
    try:
        entry = SpoolEntry.parse(slot.name)
    except ValueError:
        return None
    return entry if (entry.segment, entry.slot) == (header.number, number) else None
