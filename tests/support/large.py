"""Large instances, made and checked piece by piece: no process of the tests holds one in memory."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.encaps import generate_frames

from tests.support.dicom_bytes import EXPLICIT, JPEG, SEQUENCE_END, UNDEFINED, element
from tests.support.real_files import real_file
from tests.support.sending import data_set

MIB = 1 << 20
_SIDE = 1024
_HEAD = 1 << 16
_GRAYSCALE_WORD = "1.2.840.10008.5.1.4.1.1.7.3"
_TRUE_COLOUR = "1.2.840.10008.5.1.4.1.1.7.4"


@dataclass(slots=True)
class Large:
    """A multi-frame secondary capture: native frames of 2 MiB, or JPEG frames of a real file over and over.

    Attributes
    ----------
    number
        Makes its UIDs.
    size
        Bytes of pixel data, about.
    encapsulated
        JPEG baseline with a basic offset table in place of native 16-bit frames.
    digest
        SHA-256 of the data set, once :meth:`chunks` was read to its end.
    """

    number: int
    size: int
    encapsulated: bool = False
    digest: str = ""
    frames: int = 0
    sop_class: str = ""
    syntax: str = ""
    _jpeg: list[bytes] = field(default_factory=list)
    _noise: bytes = b""

    def __post_init__(self) -> None:
        self.sop_class = _TRUE_COLOUR if self.encapsulated else _GRAYSCALE_WORD
        self.syntax = JPEG if self.encapsulated else EXPLICIT
        if self.encapsulated:
            source = dcmread(real_file("color3d_jpeg_baseline.dcm"))
            frames = generate_frames(source.PixelData, number_of_frames=int(source.NumberOfFrames))
            self._jpeg = [frame + b"\0" * (len(frame) % 2) for frame in frames]
            mean = sum(map(len, self._jpeg)) / len(self._jpeg)
            self.frames = max(1, int(self.size / (mean + 8)))
        else:
            self.frames = max(1, self.size // (2 * _SIDE * _SIDE))
            self._noise = random.Random(self.number).randbytes(2 * _SIDE * _SIDE)

    @property
    def study(self) -> str:
        return f"1.2.826.0.1.3680043.9.7.{self.number}"

    @property
    def series(self) -> str:
        return f"{self.study}.1"

    @property
    def instance(self) -> str:
        return f"{self.study}.1.1"

    def frame(self, number: int) -> bytes:
        """Return a frame, counted from 1: no two native ones are alike."""
        if self.encapsulated:
            return self._jpeg[(number - 1) % len(self._jpeg)]
        return struct.pack("<Q", number) + self._noise[8:]

    def _file_meta(self) -> bytes:
        content = element(0x00020002, "UI", self.sop_class.encode())
        content += element(0x00020003, "UI", self.instance.encode())
        content += element(0x00020010, "UI", self.syntax.encode())
        return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(content))) + content

    def _attributes(self) -> bytes:
        rows, columns, samples, bits = (480, 640, 3, 8) if self.encapsulated else (_SIDE, _SIDE, 1, 16)
        short = struct.Struct("<H").pack
        parts = [
            element(0x00080016, "UI", self.sop_class.encode()),
            element(0x00080018, "UI", self.instance.encode()),
            element(0x00080060, "CS", b"OT"),
            element(0x00100010, "PN", b"Large^Object"),
            element(0x00100020, "LO", f"LARGE{self.number}".encode()),
            element(0x0020000D, "UI", self.study.encode()),
            element(0x0020000E, "UI", self.series.encode()),
            element(0x00280002, "US", short(samples)),
            element(0x00280004, "CS", b"YBR_FULL_422" if self.encapsulated else b"MONOCHROME2"),
        ]
        if self.encapsulated:
            parts.append(element(0x00280006, "US", short(0)))
        parts += [
            element(0x00280008, "IS", str(self.frames).encode()),
            element(0x00280010, "US", short(rows)),
            element(0x00280011, "US", short(columns)),
            element(0x00280100, "US", short(bits)),
            element(0x00280101, "US", short(bits)),
            element(0x00280102, "US", short(bits - 1)),
            element(0x00280103, "US", short(0)),
        ]
        return b"".join(parts)

    def _pixel_data(self) -> Iterator[bytes]:
        if not self.encapsulated:
            yield element(0x7FE00010, "OW", length=self.frames * 2 * _SIDE * _SIDE)
            for number in range(1, self.frames + 1):
                yield self.frame(number)
            return
        yield element(0x7FE00010, "OB", length=UNDEFINED)
        offsets, at = [], 0
        for number in range(1, self.frames + 1):
            offsets.append(at)
            at += 8 + len(self.frame(number))
        yield struct.pack("<HHL", 0xFFFE, 0xE000, 4 * len(offsets))
        yield struct.pack(f"<{len(offsets)}L", *offsets)
        for number in range(1, self.frames + 1):
            yield struct.pack("<HHL", 0xFFFE, 0xE000, len(self.frame(number)))
            yield self.frame(number)
        yield SEQUENCE_END

    def chunks(self) -> Iterator[bytes]:
        """Yield the Part-10 file, and know its digest at the end."""
        digest = hashlib.sha256()
        yield self._file_meta()
        attributes = self._attributes()
        digest.update(attributes)
        yield attributes
        for chunk in self._pixel_data():
            digest.update(chunk)
            yield chunk
        self.digest = digest.hexdigest()

    def write(self, path: Path) -> Path:
        with path.open("wb") as file:
            for chunk in self.chunks():
                file.write(chunk)
        return path


def data_set_digest(chunks: Iterable[bytes]) -> str:
    """Return the SHA-256 of the data set of a Part-10 file that comes in pieces."""
    digest = hashlib.sha256()
    head: bytes | None = b""
    for chunk in chunks:
        if head is None:
            digest.update(chunk)
            continue
        head += chunk
        if len(head) >= _HEAD:
            digest.update(data_set(head))
            head = None
    if head:
        digest.update(data_set(head))
    return digest.hexdigest()


def file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece
