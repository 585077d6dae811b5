"""What is in a spool: entries are found, read and done with. For processes that own none of the segments."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from vna.domain.errors import UnavailableError
from vna.domain.file_range import FileRange
from vna.files import sync_folder
from vna.ingest.spool.entry import Spooled, SpoolEntry
from vna.ingest.spool.files import EntryFiles
from vna.ingest.spool.layout import POISONED, Header, Slot
from vna.ingest.spool.reading import SegmentReader
from vna.ingest.spool.segment import SUFFIX, remove_draft, remove_if_drained

_READERS = 8
# Entries of a segment that are counted one by one, so that what is damaged is told apart.
_FEW = 64


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
                if (entry := _entry(header, number, slot)) and (number < used or not _done(reader, header, number)):
                    yield entry

    def in_files(self) -> Iterator[SpoolEntry]:
        """Yield what waits in files, in no order."""
        return self._files.entries()

    def count(self, *, with_bytes: bool = False) -> Spooled:
        """Return what waits, without reading each entry unless its bytes are asked for."""
        found = Spooled()
        for reader, header in self._all(found):
            used = reader.used(header)
            waiting = used - reader.done(header, used)
            if not reader.whole():
                found.damaged += 1
            if waiting and (with_bytes or waiting <= _FEW):
                self._count_each(reader, header, used, found)
            elif waiting:
                found.entries += waiting
                if (oldest := self._first(reader, header, used)) is not None:
                    found.oldest_us = min(found.oldest_us or oldest.received_us, oldest.received_us)
        for entry in self._files.entries(found):
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
            except OSError:
                if found is not None:
                    found.damaged += 1
        for header, path in sorted(segments, key=lambda each: (each[0].started_us, each[0].number)):
            try:
                reader = SegmentReader(path)
            except OSError:
                continue
            with closing(reader):
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
            return self._files.waits(entry)
        try:
            return self._slot(entry) is not None
        except OSError:
            return True

    def _slot(self, entry: SpoolEntry) -> Slot | None:
        """Return the slot of an entry that is not done with; raises ``OSError`` if it cannot be read."""
        with self._lock:
            try:
                return self._reader(entry.segment).waiting(entry.slot, entry.name)
            except FileNotFoundError:
                return None

    def source(self, entry: SpoolEntry) -> FileRange:
        """Return where an entry's bytes are.

        Raises
        ------
        FileNotFoundError
            It is done with, or was never here.
        OSError
            It cannot be read where it is.
        """
        if entry.segment < 0:
            path = self._files.find(entry)
            os.stat(path)
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
        failed: OSError | None = None
        for entry in entries:
            if entry.segment >= 0:
                marks.setdefault(entry.segment, []).append(entry)
                continue
            try:
                self._files.find(entry).unlink(missing_ok=True)
            except OSError as error:
                failed = error
        with self._lock:
            for number, done in marks.items():
                slots: dict[int, int] = {}
                for entry in done:
                    try:
                        # Looked at again: another may have done with it, and the place be an other instance's by now.
                        slot = self._slot(entry)
                    except OSError as error:
                        failed = error
                    else:
                        slots |= {entry.slot: slot.generation} if slot is not None else {}
                if slots:
                    self._reader(number).finish(slots)
            self._close_removed()
        if failed is not None:
            raise UnavailableError(f"spool: what is stored cannot be marked as stored: {failed}") from failed

    def _close_removed(self) -> None:
        """Close segments that somebody has removed: open they would keep their room on the disk."""
        for number, reader in list(self._readers.items()):
            if os.fstat(reader.fd).st_nlink == 0:
                self._readers.pop(number).close()

    def trim(self, keep: int) -> int:
        """Remove emptied segments that nobody owns, beyond those that are kept to be used again; return how many."""
        removed = kept = 0
        for draft in self._segments.glob(".*"):
            with contextlib.suppress(OSError):
                remove_draft(draft)
        for reader, header in self._all():
            used = reader.used(header)
            if used > reader.done(header, used) or not reader.whole():
                continue
            kept += 1
            if kept > keep or reader.note(header).flags & POISONED:
                with contextlib.suppress(OSError):
                    removed += remove_if_drained(reader.path)
        if removed:
            with contextlib.suppress(OSError):
                sync_folder(self._segments)
        with self._lock:
            self._close_removed()
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


def _done(reader: SegmentReader, header: Header, number: int) -> bool:
    """Whether a slot is done with; not if that cannot be read."""
    try:
        return reader.is_done(header, number)
    except OSError:
        return False
