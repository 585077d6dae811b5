"""All bulk values, or all pixel data, of a study, a series or an instance (PS3.18 10.4.1.1.5, 10.4.3.3.5)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from vna.dicom.header import Bulk
from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.errors import NotFoundError
from vna.domain.records import Location
from vna.gateways.dicomweb.conditional import released
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.media import OCTETS, with_syntax
from vna.gateways.dicomweb.negotiate import STORED, Offer, negotiate
from vna.gateways.dicomweb.streaming import stream
from vna.ingest.document import Metadata
from vna.retrieve.frames import PIXEL_PATHS, Frames
from vna.retrieve.metadata import load_many
from vna.retrieve.values import ValueReader

OFFERS = (Offer(OCTETS, related=True),)

Part = tuple[dict[str, str], Iterator[bytes]]
_NATIVE = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE})


async def retrieve_bulkdata(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../bulkdata`` of a study, a series or an instance: a part for each bulk value."""
    return await _answer(gateway, request, None)


async def retrieve_pixels(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../pixeldata`` of a study, a series or an instance."""
    return await _answer(gateway, request, PIXEL_PATHS)


async def _answer(gateway: Gateway, request: Request, paths: Collection[str] | None) -> Response:
    choice = negotiate(gateway.accept(request), OFFERS)
    found = await gateway.in_thread(released, gateway, request)
    _check(found, choice.syntaxes)
    parts = _Parts(gateway, request, choice.syntaxes, paths)
    boundary = new_boundary()
    headers = {"Content-Type": related_type(OCTETS, boundary)}
    return await stream(gateway, write_related(parts.of(found), boundary), headers)


def _check(found: Sequence[Location], syntaxes: Sequence[str]) -> None:
    """Raise 406 for a transfer syntax that some values are not to be had in."""
    if not syntaxes or ({STORED} | _NATIVE) & set(syntaxes):
        return
    for location in found:
        if location.transfer_syntax not in syntaxes:
            detail = f"instance {location.uids.sop} is stored in transfer syntax {location.transfer_syntax}"
            raise HttpError(406, "not-acceptable", f"{detail}; ask for {EXPLICIT_LITTLE}, or * for as stored")


class _Parts:
    """Makes the parts of an answer while it is sent."""

    def __init__(
        self, gateway: Gateway, request: Request, syntaxes: Sequence[str], paths: Collection[str] | None
    ) -> None:
        self._objects = gateway.view(request).objects
        self._decode = gateway.pictures.decode
        self._links = gateway.links(request)
        self._syntaxes = syntaxes
        self._paths = paths

    def of(self, found: Sequence[Location]) -> Iterator[Part]:
        """Yield the parts of instances; raises ``NotFoundError`` if they have none at all."""
        some = False
        for location, metadata in load_many(self._objects, found):
            url = self._links.instance(location.uids.study, location.uids.series, location.uids.sop)
            for path, bulk in metadata.header.bulk.items():
                if self._paths is None or path in self._paths:
                    for part in self._value(metadata, path, bulk, url):
                        some = True
                        yield part
        if not some:
            raise NotFoundError("there are no bulk values" if self._paths is None else "there is no pixel data")

    def _value(self, metadata: Metadata, path: str, bulk: Bulk, url: str) -> Iterator[Part]:
        own = f"{url}/bulkdata/{path}"
        native = {"Content-Type": with_syntax(OCTETS, EXPLICIT_LITTLE), "Content-Location": own}
        stored = {"Content-Type": with_syntax(OCTETS, metadata.header.transfer_syntax)}
        reader = ValueReader(self._objects, metadata)
        if not bulk.encapsulated:
            yield native, reader.read(bulk)
            return
        if path not in PIXEL_PATHS:
            yield stored | {"Content-Location": own}, reader.fragments(bulk.fragments)
            return
        frames = Frames(self._objects, metadata, self._decode)
        numbers = range(1, frames.count + 1)
        # What cannot be decoded is to be had as it is stored alone (PS3.18 8.7.3.3).
        if {STORED, frames.transfer_syntax} & set(self._syntaxes) or not frames.decodable:
            for number in numbers:
                yield stored | {"Content-Location": f"{url}/frames/{number}"}, frames.stored(number)
        else:
            yield native, (piece for number in numbers for piece in frames.native(number))
