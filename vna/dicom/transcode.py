"""From one transfer syntax into another (PS3.5 Annex A): between the native ones, and out of the compressed ones.

Nothing is held whole: values go through in pieces, compressed pixel data frame
by frame, the result into a temporary file.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, cast

from vna.dicom.decode import Decoded, Decoder, ImagePixel, can_decode, decode_frame
from vna.dicom.elements import (
    NATIVE,
    UNDEFINED,
    ElementReader,
    Encoding,
)
from vna.dicom.encapsulated import walk_fragments
from vna.dicom.frames import Span, encapsulated_frames
from vna.dicom.part10 import open_data_set, text_of
from vna.dicom.rewrite import Rewriter, Writable, swapped
from vna.domain.errors import UnparsableError, UnsupportedError

MAX_PIXEL_BYTES = (1 << 32) - 2
"""Longest native pixel data (PS3.5 7.1.1)."""

_IN_MEMORY = 8 << 20
_PIXEL_DATA = 0x7FE00010
_OFFSETS, _OFFSET_LENGTHS = 0x7FE00001, 0x7FE00002


def can_transcode(source: str, target: str) -> bool:
    """Say whether :func:`transcode` knows how to make one transfer syntax of another."""
    return target in NATIVE and (source in NATIVE or can_decode(source))


def transcode(
    source: BinaryIO,
    target: str,
    *,
    max_pixel_bytes: int = MAX_PIXEL_BYTES,
    decode: Decoder = decode_frame,
) -> BinaryIO:
    """Rewrite a Part-10 file in another transfer syntax.

    Parameters
    ----------
    source
        The file, open for reading with ``seek``, at its start.
    target
        Transfer Syntax UID of the result: one of the native ones.
    max_pixel_bytes
        Longest pixel data that compressed pixel data may become.
    decode
        Decodes a frame.

    Returns
    -------
    BinaryIO
        A temporary file at its start; it is gone when closed.

    Raises
    ------
    UnsupportedError
        There is no decoder, or it cannot decode, or nothing tells where the frames are.
    UnparsableError
        The file is broken.
    """
    if target not in NATIVE:
        raise UnsupportedError(f"instances are not compressed into transfer syntax {target}")
    # Closed by whoever reads the result.
    result = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115
    try:
        _transcode(source, target, result, min(max_pixel_bytes, MAX_PIXEL_BYTES), decode)
    except BaseException:
        result.close()
        raise
    result.seek(0)
    return result


def _transcode(source: BinaryIO, target: str, result: BinaryIO, most: int, decode: Decoder) -> None:
    meta, reader = open_data_set(source)
    stored = text_of(meta.get(0x00020010, b""))
    result.write(_file_meta(meta, target))
    encoding = Encoding.of(target)
    output: Writable = _Deflater(result) if encoding.deflated else result
    if stored in NATIVE or not stored:
        Rewriter(reader, output, encoding).run()
    else:
        pixels = _find_pixels(source, stored, reader, decode)
        if pixels is not None:
            _decode_all(pixels, output, encoding, most)
        else:
            # A compressed transfer syntax without pixel data is explicit little endian (PS3.5 A.4).
            source.seek(0)
            Rewriter(open_data_set(source)[1], output, encoding).run()
    if isinstance(output, _Deflater):
        output.finish()


def _file_meta(values: Mapping[int, bytes], target: str) -> bytes:
    """Return preamble and File Meta Information with another transfer syntax and, where needed, another length."""
    syntax = target.encode() + b"\0" * (len(target) % 2)
    body = b""
    for tag, value in sorted({**values, 0x00020010: syntax}.items()):
        if tag == 0x00020000:
            continue
        head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
        vr = _META_VR.get(tag, b"UN")
        if vr in {b"OB", b"UN"}:
            body += head + vr + b"\0\0" + len(value).to_bytes(4, "little") + value
        else:
            body += head + vr + len(value).to_bytes(2, "little") + value
    return b"\0" * 128 + b"DICM" + b"\x02\0\0\0UL\x04\0" + len(body).to_bytes(4, "little") + body


# PS3.10 7.1.
_META_VR = {
    0x00020001: b"OB",
    **dict.fromkeys((0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020100), b"UI"),
    **dict.fromkeys((0x00020013,), b"SH"),
    **dict.fromkeys((0x00020016, 0x00020017, 0x00020018), b"AE"),
    **dict.fromkeys((0x00020026, 0x00020027, 0x00020028), b"UR"),
    0x00020102: b"OB",
}


class _Deflater:
    """Deflates what is written to it (PS3.5 A.5)."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._size = 0

    def write(self, data: bytes) -> None:
        self._put(self._deflate.compress(data))

    def finish(self) -> None:
        """Write what is left; the length is made even."""
        self._put(self._deflate.flush())
        if self._size % 2:
            self._target.write(b"\0")

    def _put(self, data: bytes) -> None:
        self._size += len(data)
        self._target.write(data)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Compressed pixel data, found."""

    source: BinaryIO
    transfer_syntax: str
    image: ImagePixel
    frames: list[tuple[Span, ...]]
    decoder: Decoder

    def decode(self, number: int) -> Decoded:
        """Return a frame, by its number from 0."""
        data = b"".join(self._read(offset, length) for offset, length in self.frames[number])
        return self.decoder(data, self.transfer_syntax, self.image)

    def _read(self, offset: int, length: int) -> bytes:
        return read_at(self.source, offset, length)


def read_at(source: BinaryIO, offset: int, length: int) -> bytes:
    """Return bytes of a file at a place."""
    source.seek(offset)
    return source.read(length)


def _find_pixels(source: BinaryIO, transfer_syntax: str, reader: ElementReader, decode: Decoder) -> _Pixels | None:
    """Go over the data set once: the image's layout, and where the fragments are."""
    numbers: dict[int, bytes] = {}
    extended: tuple[int, ...] = ()
    while (element := reader.next()) is not None:
        if element.tag == _PIXEL_DATA:
            break
        if element.tag >> 16 == 0x0028 and element.length <= 64:
            numbers[element.tag] = reader.read(element.length)
        elif element.tag == _OFFSETS and element.length <= 8 << 20:
            raw = reader.read(element.length)
            extended = tuple(int.from_bytes(raw[at : at + 8], "little") for at in range(0, len(raw) - 7, 8))
        else:
            reader.skip_value(element)
    else:
        return None
    if element.length != UNDEFINED:
        return None
    start = reader.start + reader.position
    end = source.seek(0, 2)
    warnings: list[str] = []
    bulk, _ = walk_fragments(
        lambda size, at: read_at(source, at, size), warnings.append, "OB", start=start, end=end, extended=extended
    )
    if bulk.fragments:
        offset, length = bulk.fragments[-1]
        if int.from_bytes(read_at(source, offset - 4, 4), "little") > length:
            # Decoders make an image of what there is, and the rest of it grey: nobody would see that it is not whole.
            raise UnparsableError("the pixel data ends within a fragment")
    image = ImagePixel.of(_attributes(numbers))
    frames = encapsulated_frames(bulk, image.frames, lambda offset, length: read_at(source, offset, length))
    if not frames:
        raise UnsupportedError("the pixel data has no fragments")
    return _Pixels(source, transfer_syntax, image, frames, decode)


def _attributes(numbers: Mapping[int, bytes]) -> dict[str, object]:
    found: dict[str, object] = {}
    for tag, value in numbers.items():
        if tag in {0x00280004, 0x00280008}:
            found[f"{tag:08X}"] = {"Value": [text_of(value)]}
        elif len(value) >= 2:
            found[f"{tag:08X}"] = {"Value": [int.from_bytes(value[:2], "little")]}
    return found


def _decode_all(pixels: _Pixels, output: Writable, encoding: Encoding, most: int) -> None:
    image = pixels.image
    first = pixels.decode(0)
    count = len(pixels.frames)
    total = len(first.data) * count
    if total > most:
        # The first 64 characters are all that an Error Comment (0000,0902) takes.
        raise UnsupportedError(f"decoded it exceeds {most} bytes; ask for it as stored (it would have {total})")
    replaced = {0x00280004: (b"CS", _even(first.photometric.encode(), b" "))}
    if image.samples > 1:
        replaced[0x00280006] = (b"US", (0).to_bytes(2, "little" if encoding.little else "big"))
    if count != image.frames:
        replaced[0x00280008] = (b"IS", _even(str(count).encode(), b" "))
    unit = 1 if encoding.little else first.bits_allocated // 8
    vr = b"OB" if first.bits_allocated <= 8 and encoding.explicit else b"OW"
    if first.bits_allocated != image.bits_allocated:
        raise UnsupportedError(
            f"the pixel data decodes to {first.bits_allocated} bits a sample where {image.bits_allocated} are allocated"
        )

    def write(rewriter: Rewriter) -> None:
        here = pixels.source.tell()
        rewriter.head(_PIXEL_DATA, vr, total + total % 2)
        for number in range(count):
            frame = first if number == 0 else pixels.decode(number)
            if len(frame.data) != len(first.data):
                raise UnsupportedError(f"frame {number + 1} has another size than the first")
            output.write(swapped(frame.data, unit))
        output.write(b"\0" * (total % 2))
        pixels.source.seek(here)

    pixels.source.seek(0)
    _, reader = open_data_set(pixels.source)
    dropped = frozenset({_OFFSETS, _OFFSET_LENGTHS})

    def icon(data: bytes, numbers: Mapping[int, bytes]) -> tuple[bytes, bytes]:
        small = ImagePixel.of(_attributes(numbers))
        decoded = pixels.decoder(data, pixels.transfer_syntax, small)
        if decoded.photometric != small.photometric or decoded.bits_allocated != small.bits_allocated:
            raise UnsupportedError("the image within a sequence does not decode to what its attributes say")
        unit = 1 if encoding.little else decoded.bits_allocated // 8
        return vr, _even(swapped(decoded.data, unit), b"\0")

    rewriter = Rewriter(reader, output, encoding, replaced=replaced, dropped=dropped, instead=write, icon=icon)
    rewriter.run()


def _even(value: bytes, pad: bytes) -> bytes:
    return value + pad * (len(value) % 2)
