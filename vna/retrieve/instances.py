"""Instances on their way out: as stored, byte for byte, or in another transfer syntax."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vna.dicom.decode import Decoder, decode_frame
from vna.dicom.transcode import can_transcode, transcode
from vna.domain.errors import IntegrityError, UnsupportedError
from vna.domain.records import Location
from vna.ports.objects import ObjectReader

STORED = "*"
"""Transfer syntax: as stored."""

_CHUNK = 1 << 20
_SMALL = 1 << 20
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Rendition:
    """One instance in the transfer syntax that it will go out in.

    ``size`` is its length in bytes where that is known beforehand: as stored.
    """

    location: Location
    transfer_syntax: str
    size: int | None

    @property
    def as_stored(self) -> bool:
        """Whether the bytes are those that are stored."""
        return self.size is not None


def rendition(location: Location, accepted: Sequence[str]) -> Rendition:
    """Choose the transfer syntax of an instance.

    Parameters
    ----------
    location
        The instance.
    accepted
        Transfer syntaxes that the receiver takes, the best first; ``*`` for as stored.

    Returns
    -------
    Rendition
        As stored if the receiver takes that, else in the first that can be made of it.

    Raises
    ------
    UnsupportedError
        None of them can be made.
    """
    stored = location.transfer_syntax
    if STORED in accepted or stored in accepted:
        return Rendition(location, stored, location.size)
    for target in accepted:
        if can_transcode(stored, target):
            return Rendition(location, target, None)
    message = f"instance {location.uids.sop} is stored in transfer syntax {stored}, of which none can be made of: "
    raise UnsupportedError(message + (", ".join(accepted)[:500] or "nothing"))


def read(objects: ObjectReader, item: Rendition, decode: Decoder = decode_frame) -> Iterator[bytes]:
    """Yield the bytes of an instance as a Part-10 file (PS3.10 7). Memory does not grow with it.

    ``decode`` decodes a frame, where one must be.

    Raises
    ------
    UnsupportedError
        Its pixel data cannot be decoded; before the first piece.
    """
    key = item.location.key
    if item.as_stored:
        yield from objects.stream(key, chunk=_CHUNK)
        return
    with objects.open(key) as source, transcode(source, item.transfer_syntax, decode=decode) as result:
        while piece := result.read(_CHUNK):
            yield piece


def read_many(
    objects: ObjectReader, items: Iterable[Rendition], decode: Decoder = decode_frame
) -> Iterator[tuple[Rendition, Iterator[bytes]]]:
    """Yield instances with their bytes, in order; small ones are read ahead, several at once.

    Raises
    ------
    IntegrityError
        The index has an instance whose bytes are not in the store.
    """
    batch: list[Rendition] = []
    for item in items:
        if item.as_stored and item.location.size <= _SMALL:
            batch.append(item)
            if len(batch) < _BATCH:
                continue
        yield from _read_batch(objects, batch)
        batch = []
        if not (item.as_stored and item.location.size <= _SMALL):
            yield item, read(objects, item, decode)
    yield from _read_batch(objects, batch)


def _read_batch(objects: ObjectReader, batch: Sequence[Rendition]) -> Iterator[tuple[Rendition, Iterator[bytes]]]:
    if not batch:
        return
    found = objects.get_many([item.location.key for item in batch])
    for item, (key, data) in zip(batch, found, strict=True):
        if data is None:
            raise IntegrityError(f"instance {item.location.uids.sop} is indexed, but its bytes {key} are not stored")
        yield item, iter((data,))
