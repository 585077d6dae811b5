"""Reading a segment that anybody may be writing to: its entries, and which of them are done with."""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

from vna.domain.errors import UnavailableError
from vna.files import write_all
from vna.ingest.spool.layout import (
    FORMAT,
    MARK,
    PAGE,
    SECTOR,
    SLOTS_AT,
    Header,
    Note,
    Slot,
    generation_of,
    mark_of,
    unpack_header,
    unpack_note,
    unpack_slot,
)

# Slots that are read at once; as many without one of the generation end the segment.
_CHUNK = 128


class NotASegmentError(Exception):
    """A file that is no segment, or one of a format that is not known here. The message says which."""


class SegmentReader:
    """A segment, open. What it says of slots and marks is read anew at each call.

    Parameters
    ----------
    path
        Its file.

    Raises
    ------
    FileNotFoundError, OSError
        It cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._any_header: Header | None = None
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def header(self) -> Header:
        """Return the header of the generation that is in use.

        The one before it is taken only where there is no sign of a later one: a
        slot that is whole says of which generation it is, should its header be
        unreadable.

        Raises
        ------
        NotASegmentError
            There is no header that can be read.
        """
        found = [header for place in (0, PAGE) if (header := unpack_header(self._sector(place))) is not None]
        if not found:
            raise NotASegmentError(f"{self.path}: no header can be read")
        header = max(found, key=lambda each: each.generation)
        if header.format != FORMAT:
            raise NotASegmentError(f"{self.path}: format {header.format}, written by a later version of the archive")
        if len(found) < 2 and (slot := unpack_slot(self._sector(SLOTS_AT))) and slot.generation > header.generation:
            return Header(slot.generation, header.number, header.size, header.slots, header.started_us)
        return header

    def note(self, header: Header) -> Note:
        """Return the note of a generation, empty where there is none."""
        return unpack_note(header, self._sector(header.place + SECTOR))

    def _sector(self, place: int) -> bytes:
        with contextlib.suppress(OSError):
            return os.pread(self.fd, SECTOR, place)
        return b""

    def slots(self, header: Header, first: int = 0) -> Iterator[tuple[int, Slot | None]]:
        """Yield the number and content of each slot in use, ``None`` for one that cannot be read.

        What is damaged hides nothing that follows: the end is a stretch of 128
        slots without one of this generation, or where the note says.
        """
        used = self.note(header).used
        limit = used or header.slots
        at = first
        while at < limit:
            count = min(_CHUNK, limit - at)
            raw, unreadable = self._read(SLOTS_AT + at * SECTOR, count * SECTOR)
            found = False
            lost: list[int] = []
            for number in range(count):
                place = number * SECTOR
                if generation_of(raw, place) == header.generation:
                    for each in lost:
                        yield each, None
                    lost.clear()
                    found = True
                    yield at + number, unpack_slot(raw[place : place + SECTOR])
                elif used or place // PAGE in unreadable or _was_slot(raw, place, header):
                    lost.append(at + number)
            # At the end of what is in use there may be rubbish; what cannot be read may be anything.
            for each in lost:
                if used or (each - at) * SECTOR // PAGE in unreadable:
                    yield each, None
            at += count
            if not found and not unreadable:
                return

    def _read(self, start: int, length: int) -> tuple[bytes, set[int]]:
        """Read a stretch, page by page where the whole cannot be read; return it and the pages that are not there."""
        with contextlib.suppress(OSError):
            raw = os.pread(self.fd, length, start)
            return raw.ljust(length, b"\0"), set()
        pieces = []
        missing = set()
        for number, place in enumerate(range(0, length, PAGE)):
            size = min(PAGE, length - place)
            try:
                pieces.append(os.pread(self.fd, size, start + place).ljust(size, b"\0"))
            except OSError:
                pieces.append(bytes(size))
                missing.add(number)
        return b"".join(pieces), missing

    def slot(self, number: int) -> Slot | None:
        """Return one slot, ``None`` if it is not whole; raises ``OSError``."""
        return unpack_slot(os.pread(self.fd, SECTOR, SLOTS_AT + number * SECTOR))

    def used(self, header: Header) -> int:
        """Return how many slots are in use; quick, and exact unless slots are damaged."""
        if noted := self.note(header).used:
            return noted
        low, high = 0, header.slots
        while low < high:
            middle = (low + high) // 2
            raw = self._sector(SLOTS_AT + middle * SECTOR)
            if len(raw) == SECTOR and generation_of(raw) == header.generation:
                low = middle + 1
            else:
                high = middle
        return low

    def marks(self, header: Header, used: int) -> list[bool]:
        """Return for each slot whether it is done with; one whose mark cannot be read is not."""
        raw, _missing = self._read(header.marks_at, used * MARK)
        mark = header.mark
        return [raw[place : place + MARK] == mark for place in range(0, used * MARK, MARK)]

    def done(self, header: Header, used: int) -> int:
        """Return how many of the first ``used`` slots are done with."""
        raw, _missing = self._read(header.marks_at, used * MARK)
        return array("Q", raw).count(int.from_bytes(header.mark, "little"))

    def waiting(self, number: int, name: str) -> Slot | None:
        """Return the slot of an entry that is not done with; raises ``OSError``, ``NotASegmentError``.

        The generation in use need not be known: a segment is used again only when each of its slots has the mark of
        its own generation, and it keeps that until another instance has the slot.
        """
        place = self._geometry()
        slot = self.slot(number) if number < place.slots else None
        if slot is None or slot.name != name:
            return None
        mark = os.pread(self.fd, MARK, place.marks_at + number * MARK)
        return None if mark == mark_of(place.number, slot.generation) else slot

    def _geometry(self) -> Header:
        """Return a header, of whichever generation: size and number of slots are the same in all."""
        if self._any_header is None:
            self._any_header = self.header()
        return self._any_header

    def is_done(self, header: Header, number: int) -> bool:
        """Whether a slot of a generation is done with."""
        return os.pread(self.fd, MARK, header.marks_at + number * MARK) == header.mark

    def finish(self, slots: Mapping[int, int]) -> None:
        """Mark slots, by their number and generation, as done with, and return when that is durable.

        Raises
        ------
        UnavailableError
            It may not be durable. The marks stand, so no living process takes the entries up again; a power cut
            may bring them back, and they are then found to be duplicates.
        """
        try:
            place = self._geometry()
            for number, generation in slots.items():
                write_all(self.fd, mark_of(place.number, generation), place.marks_at + number * MARK)
            os.fdatasync(self.fd)
        except OSError as error:
            raise UnavailableError(
                f"spool: {self.path.name}: what is stored cannot be marked as stored: {error}"
            ) from error

    def drained(self) -> bool:
        """Whether nothing in it waits any more; not if a part of it cannot be read."""
        header = self.header()
        used = self.used(header)
        marks = self.marks(header, used)
        if not all(marks):
            return False
        # The count is quick and may be short: what lies beyond it, whole or damaged, still counts.
        return not any(number >= used for number, _slot in self.slots(header, max(0, used - 1)))

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _was_slot(raw: bytes, place: int, header: Header) -> bool:
    """Whether bytes may have been a slot of this generation: they are neither zeros nor of an earlier one."""
    return any(raw[place : place + SECTOR]) and generation_of(raw, place) > header.generation
