"""Data sets on their way to a receiver: from the object store, as stored or in another transfer syntax."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from vna.dicom.dataset import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from vna.dicom.decode import Decoder, decode_frame
from vna.dicom.transcode import can_transcode, transcode
from vna.domain.errors import ArchiveError, IntegrityError
from vna.domain.records import Location
from vna.ports.objects import ObjectReader

_SMALL = 4 << 20
_BATCH_BYTES = 24 << 20
_BATCH = 32
_LONG_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"})

Opened = tuple[Location, BinaryIO | ArchiveError]
"""An instance with its Part-10 file, or with why that cannot be read."""


def open_all(objects: ObjectReader, locations: Sequence[Location]) -> Iterator[Opened]:
    """Yield instances with their files; small ones are read ahead, several at once.

    A file is open until the next one is asked for. An instance that cannot be
    read comes with the error, and the next one is tried.
    """
    place = 0
    while place < len(locations):
        batch = _small_ones(locations, place)
        if batch:
            yield from _read_ahead(objects, batch)
            place += len(batch)
            continue
        location = locations[place]
        place += 1
        with ExitStack() as stack:
            source: BinaryIO | ArchiveError
            try:
                source = stack.enter_context(objects.open(location.key))
            except ArchiveError as error:
                source = error
            yield location, source


def _small_ones(locations: Sequence[Location], place: int) -> Sequence[Location]:
    end, total = place, 0
    while end < len(locations) and end - place < _BATCH and locations[end].size <= _SMALL:
        total += locations[end].size
        if total > _BATCH_BYTES and end > place:
            break
        end += 1
    return locations[place:end]


def _read_ahead(objects: ObjectReader, batch: Sequence[Location]) -> Iterator[Opened]:
    left = list(batch)
    try:
        for _key, data in objects.get_many([location.key for location in batch]):
            location = left.pop(0)
            if data is None:
                yield location, IntegrityError(f"{location.uids.sop} is indexed, but its bytes are not in the store")
            else:
                yield location, io.BytesIO(data)
    except ArchiveError as error:
        for location in left:
            yield location, error


@contextmanager
def data_set(
    source: BinaryIO, location: Location, target: str, decode: Decoder = decode_frame
) -> Iterator[tuple[BinaryIO, int]]:
    """Give a data set in a transfer syntax, as a stream where it begins and its length.

    As stored it is read from the file, byte for byte. Otherwise it is transcoded
    to its end before it is given: a C-STORE may not be left half done. ``decode``
    decodes a frame.

    Raises
    ------
    UnsupportedError, UnparsableError
        It cannot be had in that transfer syntax.
    TooLargeError, OutOfResourcesError
        ``decode`` has no room or time for it.
    """
    with ExitStack() as stack:
        file = source
        if target != location.transfer_syntax:
            source.seek(0)
            file = stack.enter_context(transcode(source, target, decode=decode))
        start = data_set_start(file)
        length = file.seek(0, io.SEEK_END) - start
        file.seek(start)
        yield file, length


def choose(location: Location, accepted: Collection[tuple[str, str]]) -> str | None:
    """Return the transfer syntax to send an instance in, of those accepted for its SOP class; ``None`` if none can be.

    As stored if that is accepted, otherwise one that it can be transcoded to,
    the uncompressed ones first.
    """
    stored = location.transfer_syntax
    if (location.sop_class, stored) in accepted:
        return stored
    offered = [syntax for sop_class, syntax in accepted if sop_class == location.sop_class]
    offered.sort(key=lambda syntax: (syntax != EXPLICIT_LITTLE, syntax != IMPLICIT_LITTLE))
    return next((syntax for syntax in offered if can_transcode(stored, syntax)), None)


def data_set_start(source: BinaryIO) -> int:
    """Return where the data set of a Part-10 file begins, behind its File Meta Information (PS3.10 7.1).

    The elements are walked: File Meta Information Group Length is not trusted.
    A file without preamble and meta information begins at 0.
    """
    source.seek(0)
    if source.read(132)[128:] != b"DICM":
        return 0
    place = 132
    while True:
        source.seek(place)
        head = source.read(12)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return place
        if head[4:6] in _LONG_VRS:
            if len(head) < 12:
                return place
            place += 12 + int(struct.unpack_from("<I", head, 8)[0])
        else:
            place += 8 + int(struct.unpack_from("<H", head, 6)[0])
