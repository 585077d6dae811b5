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
    slots_of,
    unpack_header,
    unpack_note,
    unpack_slot,
)

# Slots that are read at once; as many without one of the generation end the segment.
_CHUNK = 128


class NotASegmentError(OSError):
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
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def header(self) -> Header:
        """Return the header of the generation that is in use.

        There are always two that can be read, of this generation and of the one
        before. If not, both may be of earlier ones than the slots: those say
        which is in use then.

        Raises
        ------
        NotASegmentError
            It is none of this format, or of another file, or too little of it can be read.
        """
        headers = self._headers()
        if len(headers) == 2:
            return max(headers, key=lambda each: each.generation)
        return self._from_slots(headers[0] if headers else None)

    def whole(self) -> bool:
        """Whether both headers can be read. Otherwise it is read, but never used again nor removed."""
        return len(self._headers()) == 2

    def _headers(self) -> list[Header]:
        try:
            raw = os.pread(self.fd, PAGE + SECTOR, 0)
            parts = (raw[:SECTOR], raw[PAGE:])
        except OSError:
            parts = (self._sector(0), self._sector(PAGE))
        found = [header for part in parts if (header := unpack_header(part)) is not None]
        for header in found:
            if header.format != FORMAT:
                text = f"{self.path}: format {header.format}, written by a later version of the archive"
                raise NotASegmentError(text)
            if f"{header.number:012x}" != self.path.stem:
                raise NotASegmentError(f"{self.path}: a copy of the segment {header.number:012x}")
        return found

    def _from_slots(self, header: Header | None) -> Header:
        """Return the header that whole slots speak of."""
        size = os.fstat(self.fd).st_size
        slots = header.slots if header else slots_of(size)
        raw, _missing = self._read(SLOTS_AT, slots * SECTOR)
        generations = [
            generation_of(raw, place)
            for place in range(0, slots * SECTOR, SECTOR)
            if any(raw[place : place + 4]) and unpack_slot(raw[place : place + SECTOR]) is not None
        ]
        if header is None and not generations:
            raise NotASegmentError(f"{self.path}: neither a header nor a slot can be read")
        generation = max([*generations, header.generation if header else 0])
        if header is None:
            return Header(generation, int(self.path.stem, 16), size, slots)
        return Header(generation, header.number, header.size, header.slots, header.started_us)

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
                    # Instances have slots without a gap: what lies before one of them was one.
                    for each in lost:
                        yield each, None
                    lost.clear()
                    found = True
                    yield at + number, unpack_slot(raw[place : place + SECTOR])
                else:
                    lost.append(at + number)
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
        """Return how many slots are in use, damaged ones among them."""
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
        # A damaged one misleads the search: what follows is looked at.
        return max((number + 1 for number, _slot in self.slots(header, max(0, low - 1))), default=low)

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
        """Return the slot of an entry that is not done with; raises ``OSError``, ``NotASegmentError``."""
        header = self.header()
        slot = self.slot(number) if number < header.slots else None
        # A segment that is used again has another generation, and no name a second time.
        if slot is None or slot.name != name or slot.generation != header.generation:
            return None
        return None if self.is_done(header, number) else slot

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
            place = self.header()
            for number, generation in slots.items():
                write_all(self.fd, mark_of(place.number, generation), place.marks_at + number * MARK)
            os.fdatasync(self.fd)
        except OSError as error:
            raise UnavailableError(
                f"spool: {self.path.name}: what is stored cannot be marked as stored: {error}"
            ) from error

    def drained(self) -> bool:
        """Whether nothing in it waits any more; not if a part of it cannot be read."""
        if not self.whole():
            return False
        header = self.header()
        return all(self.marks(header, self.used(header)))

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
