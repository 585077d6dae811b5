"""What of a stored instance can be shown, and the jobs that show it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import cached_property

from vna.dicom.elements import EXPLICIT_LITTLE
from vna.domain.errors import NotFoundError, TooLargeError, UnsupportedError
from vna.domain.records import Attributes, Location
from vna.ingest.document import Metadata
from vna.ports.objects import ObjectReader
from vna.retrieve.frames import PIXEL_PATHS, Frames
from vna.retrieve.limited import LimitedPool
from vna.retrieve.metadata import load
from vna.retrieve.render_attributes import DisplayReader
from vna.retrieve.render_job import Picture
from vna.retrieve.render_request import Options
from vna.retrieve.render_texts import lines
from vna.retrieve.report import Report, is_report
from vna.retrieve.values import ValueReader

PDF, CDA = "application/pdf", "text/xml"
DOCUMENTS = (PDF, CDA, "model/stl", "model/obj", "model/mtl")
"""Media types of encapsulated documents (PS3.3 A.45, A.85)."""
_KEYWORDS = dict(zip(PIXEL_PATHS, ("PixelData", "FloatPixelData", "DoubleFloatPixelData"), strict=True))
_DOCUMENT = "00420011"


class Source:
    """One instance, to be shown.

    Parameters
    ----------
    objects
        Where it is.
    metadata
        Its metadata.
    pool
        Where pictures are made.
    """

    def __init__(self, objects: ObjectReader, metadata: Metadata, pool: LimitedPool) -> None:
        self._objects = objects
        self._metadata = metadata
        self._pool = pool

    @classmethod
    def of(cls, objects: ObjectReader, location: Location, pool: LimitedPool) -> Source:
        """Return what a stored instance has to show."""
        return cls(objects, load(objects, location), pool)

    @property
    def is_image(self) -> bool:
        """Whether it has pixels."""
        return any(path in self._metadata.header.bulk for path in PIXEL_PATHS)

    @property
    def document_type(self) -> str:
        """Media type of the encapsulated document that it is (PS3.3 C.24.2), empty for anything else."""
        attributes = self._metadata.header.attributes
        kind = str(((attributes.get("00420012") or {}).get("Value") or [""])[0]).strip().lower()
        return kind if _DOCUMENT in attributes and kind in DOCUMENTS else ""

    @property
    def report(self) -> Report | None:
        """The structured report that it is, ``None`` for anything else."""
        attributes = self._metadata.header.attributes
        return Report(attributes) if is_report(attributes) else None

    @property
    def attributes(self) -> Attributes:
        """Its data set in the DICOM JSON model, without bulk values."""
        return self._metadata.header.attributes

    @cached_property
    def frames(self) -> Frames:
        """Its frames.

        Raises
        ------
        UnsupportedError
            It has none.
        """
        try:
            return Frames(self._objects, self._metadata)
        except NotFoundError as error:
            raise UnsupportedError("the instance has no pixels, so there is no picture of it") from error

    @cached_property
    def _reader(self) -> ValueReader:
        return ValueReader(self._objects, self._metadata)

    def picture(self, options: Options, numbers: Sequence[int] = (1,)) -> bytes:
        """Return the file of a picture of frames, numbered from 1; of several, an animation.

        Raises
        ------
        NotFoundError
            It has no such frame.
        UnsupportedError, InvalidInputError, TooLargeError, OutOfResourcesError
            As :meth:`vna.retrieve.limited.LimitedPool.run`.
        """
        _, made = self._pool.run(self._job(options, numbers))
        return made

    def _job(self, options: Options, numbers: Sequence[int]) -> Picture:
        frames, header = self.frames, self._metadata.header
        frames.check(numbers)
        if not frames.decodable:
            raise UnsupportedError(f"there is no decoder for transfer syntax {frames.transfer_syntax}")
        image = frames.image
        self._pool.check_pixels(image.rows, image.columns, image.samples, len(numbers))
        displays = DisplayReader(self._metadata, self._reader)
        return Picture(
            frames=tuple(self._bytes(number, len(numbers)) for number in numbers),
            transfer_syntax=frames.transfer_syntax if frames.compressed else EXPLICIT_LITTLE,
            keyword=next(_KEYWORDS[path] for path in PIXEL_PATHS if path in header.bulk),
            image=image,
            displays=tuple(displays.of(number, overlaid=options.overlays) for number in numbers),
            options=options,
            texts=lines(header.attributes, options.annotation),
            milliseconds=self._milliseconds(),
            profile=displays.profile() if options.profile != "no" else b"",
        )

    def _bytes(self, number: int, of: int) -> bytes:
        """Return a frame's bytes; they are in memory here and in the child, which is why there is a limit."""
        most = self._pool.limits.memory_bytes // 4 // of
        frames, pieces, size = self.frames, [], 0
        for piece in frames.stored(number) if frames.compressed else frames.native(number):
            size += len(piece)
            if size > most:
                raise TooLargeError(f"frame {number} has more than the {most} bytes that are read to show it")
            pieces.append(piece)
        return b"".join(pieces)

    def _milliseconds(self) -> int:
        """Return how long a frame is shown: Frame Time, or by Cine Rate or Recommended Display Frame Rate."""
        time = self._number("00181063")
        rate = self._number("00180040") or self._number("00082144")
        if not time and rate:
            time = 1000 / rate
        # Browsers take less than 20 ms for a tenth of a second.
        return int(min(5000, max(20, time))) if time else 100

    def _number(self, tag: str) -> float:
        try:
            return max(0.0, float(((self._metadata.header.attributes.get(tag) or {}).get("Value") or [0])[0]))
        except (TypeError, ValueError):
            return 0.0

    def document(self) -> Iterator[bytes]:
        """Yield the encapsulated document without the padding to an even length (PS3.3 C.24.2.1)."""
        header = self._metadata.header
        bulk = header.bulk.get(_DOCUMENT)
        if bulk is None:
            content = base64.b64decode(header.attributes[_DOCUMENT].get("InlineBinary", ""))
            yield content[: self._document_length(len(content))]
        else:
            yield from self._reader.read(bulk, 0, self._document_length(bulk.length))

    def _document_length(self, stored: int) -> int:
        length = int(self._number("00420015"))
        return length if stored - 1 <= length <= stored else stored


def candidates(locations: Sequence[Location], most: int = 12) -> Iterator[Location]:
    """Yield instances to be tried for a picture that stands for all: the middle one, then outwards."""
    middle = len(locations) // 2
    order = sorted(range(len(locations)), key=lambda place: abs(place - middle))
    for place in order[:most]:
        yield locations[place]
