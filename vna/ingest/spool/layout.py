"""The bytes of a segment: two headers, slots, marks, data. Pure: packs and unpacks, touches no file.

::

    0       header of the even generations, and in the next sector a note
    4096    header of the odd generations, and in the next sector a note
    8192    slots, a sector each, in the order in which instances were received
            marks, eight bytes for each slot: what is stored elsewhere, durably, is done with
            data, each instance on a page of its own

A slot counts if its checksum is right and its generation is the header's. Slots
lie where no payload ever lies, so nothing that is sent can pretend to be one. A
header is written once for its generation and never over the one before it. The
note holds what is learned later (closed, poisoned): without it nothing is lost.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import xxhash

PAGE = 4096
SECTOR = 512
MARK = 8
SLOTS_AT = 2 * PAGE
FORMAT = 2
_MAGIC = b"VNASPOOL"
# Magic, format, generation, number of the segment, its size, number of slots, begin of the generation (microseconds
# since 1970); then a CRC-32 of that.
_HEADER = struct.Struct("<8sHQQQIQ")
# Generation, flags, slots used when it was closed; then a CRC-32 of that.
_NOTE = struct.Struct("<QII")
_CRC = struct.Struct("<I")
# CRC-32 of all that follows, generation, offset, length, XXH3 of the bytes, length of the name.
_SLOT = struct.Struct("<IQQQQH")
_SLOT_GENERATION = struct.Struct("<Q")
CLOSED = 1
"""Flag of the note: nothing is written to it any more in this generation."""
POISONED = 2
"""Flag of the note: a sync failed. What it holds is read, nothing is written to it, and empty it is removed."""

# Bytes of data for which there is one slot.
_DATA_OF_SLOT = 16384


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a segment; see :mod:`vna.ingest.spool.layout`."""

    generation: int
    number: int
    size: int
    slots: int
    started_us: int = 0
    format: int = FORMAT

    @property
    def marks_at(self) -> int:
        """Where the marks begin."""
        return SLOTS_AT + self.slots * SECTOR

    @property
    def data_at(self) -> int:
        """Where the data begins."""
        return on_page(self.marks_at + self.slots * MARK)

    @property
    def mark(self) -> bytes:
        """The mark of a slot of this generation that is done with."""
        return mark_of(self.number, self.generation)

    @property
    def place(self) -> int:
        """Where a header of this generation lies."""
        return PAGE * (self.generation & 1)

    def pack(self) -> bytes:
        """Return the bytes of the header."""
        raw = _HEADER.pack(
            _MAGIC,
            self.format,
            self.generation,
            self.number,
            self.size,
            self.slots,
            self.started_us,
        )
        return raw + _CRC.pack(zlib.crc32(raw))


@dataclass(frozen=True, slots=True)
class Slot:
    """What a slot says: the name of an entry, and where its bytes are."""

    generation: int
    offset: int
    length: int
    checksum: int
    name: str


@lru_cache(maxsize=1024)
def mark_of(number: int, generation: int) -> bytes:
    """Return the mark of the slots of a generation of a segment that are done with."""
    return xxhash.xxh3_64_digest(struct.pack("<QQ", number, generation))


def slots_of(size: int) -> int:
    """Return how many slots a segment of a size has."""
    return max(8, size // _DATA_OF_SLOT // 8 * 8)


def on_page(position: int) -> int:
    """Return the first begin of a page at or after a position."""
    return -(-position // PAGE) * PAGE


def unpack_header(raw: bytes) -> Header | None:
    """Read a header; ``None`` for bytes that are none. Its format may be one that is not known here."""
    if len(raw) < _HEADER.size + _CRC.size or not raw.startswith(_MAGIC):
        return None
    if _CRC.unpack_from(raw, _HEADER.size)[0] != zlib.crc32(raw[: _HEADER.size]):
        return None
    _magic, format_, generation, number, size, slots, started_us = _HEADER.unpack_from(raw)
    return Header(generation, number, size, slots, started_us, format_)


@dataclass(frozen=True, slots=True)
class Note:
    """What was learned of a generation after its begin: flags, and how many slots it had when it was closed."""

    flags: int = 0
    used: int = 0


def pack_note(header: Header, note: Note) -> bytes:
    """Return the bytes of the note of a generation."""
    raw = _NOTE.pack(header.generation, note.flags, note.used)
    return raw + _CRC.pack(zlib.crc32(raw))


def unpack_note(header: Header, raw: bytes) -> Note:
    """Read the note of a generation; what is none says nothing."""
    if len(raw) < _NOTE.size + _CRC.size or _CRC.unpack_from(raw, _NOTE.size)[0] != zlib.crc32(raw[: _NOTE.size]):
        return Note()
    generation, flags, used = _NOTE.unpack_from(raw)
    return Note(flags, used) if generation == header.generation else Note()


def pack_slot(slot: Slot) -> bytes:
    """Return the bytes of a slot, a whole sector."""
    name = slot.name.encode("ascii")
    fields = struct.pack("<QQQQH", slot.generation, slot.offset, slot.length, slot.checksum, len(name))
    body = fields + name
    return (_CRC.pack(zlib.crc32(body)) + body).ljust(SECTOR, b"\0")


def unpack_slot(raw: bytes | memoryview) -> Slot | None:
    """Read a slot; ``None`` for bytes that are none."""
    raw = bytes(raw)
    if len(raw) < SECTOR:
        return None
    crc, generation, offset, length, checksum, size = _SLOT.unpack_from(raw)
    end = _SLOT.size + size
    if not size or end > SECTOR or zlib.crc32(raw[4:end]) != crc:
        return None
    try:
        return Slot(generation, offset, length, checksum, raw[_SLOT.size : end].decode("ascii"))
    except UnicodeDecodeError:
        return None


def generation_of(raw: bytes | memoryview, at: int = 0) -> int:
    """Return the generation that a slot claims, whether it is whole or not."""
    return int(_SLOT_GENERATION.unpack_from(raw, at + 4)[0])
