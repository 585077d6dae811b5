"""Frames of a stored image: as stored, or decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vna.dicom.decode import Decoder, ImagePixel, can_decode, decode_frame
from vna.dicom.frames import Span, encapsulated_frames, native_frame
from vna.dicom.header import Bulk
from vna.dicom.rewrite import pixel_unit
from vna.domain.errors import NotFoundError
from vna.domain.records import Location
from vna.ingest.document import Metadata
from vna.ports.objects import ObjectReader
from vna.retrieve.metadata import load
from vna.retrieve.values import ValueReader

# Pixel Data, Float Pixel Data, Double Float Pixel Data: an image has one of them (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25).
PIXEL_PATHS = ("7FE00010", "7FE00008", "7FE00009")


class Frames:
    """The frames of one instance.

    Parameters
    ----------
    objects
        Where it is.
    metadata
        Its metadata.
    decode
        Decodes a frame.

    Raises
    ------
    NotFoundError
        It has no pixel data.
    """

    def __init__(self, objects: ObjectReader, metadata: Metadata, decode: Decoder = decode_frame) -> None:
        header = metadata.header
        bulk = next((header.bulk[path] for path in PIXEL_PATHS if path in header.bulk), None)
        if bulk is None:
            raise NotFoundError("the instance has no pixel data, and so no frames")
        self.transfer_syntax = header.transfer_syntax
        self.image = ImagePixel.of(header.attributes)
        self._bulk: Bulk = bulk
        self._decode = decode
        self._reader = ValueReader(objects, metadata)
        self._fragments: list[tuple[Span, ...]] = []
        if bulk.encapsulated:
            self._fragments = encapsulated_frames(bulk, self.image.frames, self._reader.bytes_at)

    @classmethod
    def of(cls, objects: ObjectReader, location: Location, decode: Decoder = decode_frame) -> Frames:
        """Return the frames of an instance."""
        return cls(objects, load(objects, location), decode)

    @property
    def compressed(self) -> bool:
        """Whether the frames are stored compressed."""
        return self._bulk.encapsulated

    @property
    def decodable(self) -> bool:
        """Whether there is a decoder for them, where one is needed."""
        return not self.compressed or can_decode(self.transfer_syntax)

    @property
    def count(self) -> int:
        """How many there are."""
        if self.compressed:
            return len(self._fragments)
        return min(self.image.frames, self._bulk.length * 8 // max(1, self.image.frame_bits))

    def check(self, numbers: Sequence[int]) -> None:
        """Raise ``NotFoundError`` for a number, from 1, that no frame has."""
        for number in numbers:
            if not 1 <= number <= self.count:
                raise NotFoundError(f"the instance has no frame {number}: it has {self.count}")

    def length(self, number: int, *, stored: bool) -> int | None:
        """Return the length in bytes of a frame as it is stored, or native; ``None`` if it must be decoded first."""
        self.check((number,))
        if stored:
            return sum(length for _offset, length in self._fragments[number - 1])
        return None if self.compressed else -(-native_frame(self.image, number, self._bulk.length).bits // 8)

    def stored(self, number: int) -> Iterator[bytes]:
        """Yield a compressed frame as it is stored: its fragments, one after the other."""
        self.check((number,))
        return self._reader.fragments(self._fragments[number - 1])

    def native(self, number: int) -> Iterator[bytes]:
        """Yield a frame as native pixels, little endian (PS3.5 8.1.1), decoded if it is stored compressed.

        Colour is decoded to RGB, by pixel. Pixels of one bit start at the first bit.

        Raises
        ------
        UnsupportedError
            It cannot be decoded.
        """
        self.check((number,))
        if self.compressed:
            data = b"".join(self.stored(number))
            yield self._decode(data, self.transfer_syntax, self.image).data
            return
        place = native_frame(self.image, number, self._bulk.length)
        unit = pixel_unit(self.image.bits_allocated) if self._bulk.vr == "OW" else None
        pieces = self._reader.read(self._bulk, place.offset, place.length, unit=unit)
        if place.shift or place.bits % 8:
            yield place.unpack(b"".join(pieces))
        else:
            yield from pieces
