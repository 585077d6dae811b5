"""Where the frames of an image are (PS3.5 8 and A.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vna.dicom.decode import ImagePixel
from vna.dicom.header import Bulk
from vna.domain.errors import NotFoundError, UnsupportedError

Span = tuple[int, int]
"""Offset and length in bytes."""

# An end of image (FFD9) may be followed by padding.
_TAIL = 10


def encapsulated_frames(bulk: Bulk, frames: int, read: Callable[[int, int], bytes]) -> list[tuple[Span, ...]]:
    """Return the fragments of each frame.

    Parameters
    ----------
    bulk
        Encapsulated pixel data.
    frames
        Number of Frames (0028,0008).
    read
        Reads bytes of the object at an offset, to look for ends of images where no table tells.

    Returns
    -------
    list of tuple
        By the offset table; else all for a single frame; else one each if the
        counts agree; else by the ends of images in the fragments (PS3.5 A.4.1).

    Raises
    ------
    UnsupportedError
        Nothing tells where the frames are.
    """
    fragments = bulk.fragments
    if bulk.frames:
        return list(_grouped(fragments, bulk.frames))
    if frames == 1:
        return [tuple(fragments)] if fragments else []
    if len(fragments) <= frames:
        return [(fragment,) for fragment in fragments]
    found: list[tuple[Span, ...]] = []
    current: list[Span] = []
    for offset, length in fragments:
        current.append((offset, length))
        size = min(length, _TAIL)
        if b"\xff\xd9" in read(offset + length - size, size):
            found.append(tuple(current))
            current = []
    if current or len(found) != frames:
        count = len(fragments)
        raise UnsupportedError(f"{count} fragments without a usable offset table: the {frames} frames cannot be told")
    return found


def _grouped(fragments: tuple[Span, ...], counts: tuple[int, ...]) -> Iterator[tuple[Span, ...]]:
    start = 0
    for count in counts:
        yield fragments[start : start + count]
        start += count


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """Where one native frame lies within the value of its pixel data.

    ``shift`` is the number of bits before the frame in the first byte, and
    ``bits`` its length: frames of one bit a pixel are packed without gaps (PS3.5 8.1.1).
    """

    offset: int
    length: int
    shift: int
    bits: int

    def unpack(self, data: bytes) -> bytes:
        """Return the frame from its bytes, its first bit in the lowest of the first byte."""
        size = (self.bits + 7) // 8
        if not self.shift and not self.bits % 8:
            return data
        number = int.from_bytes(data, "little") >> self.shift & ((1 << self.bits) - 1)
        return number.to_bytes(size, "little")


def native_frame(image: ImagePixel, number: int, length: int) -> NativeFrame:
    """Return where a frame lies.

    Parameters
    ----------
    image
        The layout.
    number
        Number of the frame, from 1.
    length
        Length of the pixel data.

    Raises
    ------
    NotFoundError
        The instance has no such frame.
    """
    bits = image.frame_bits
    first = (number - 1) * bits
    end = first + bits
    if number < 1 or (number > image.frames) or (end + 7) // 8 > length:
        raise NotFoundError(f"the instance has no frame {number}: it has {min(image.frames, length * 8 // bits)}")
    offset, shift = divmod(first, 8)
    return NativeFrame(offset, (end + 7) // 8 - offset, shift, bits)
