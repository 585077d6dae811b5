"""WADO-RS metadata (PS3.18 10.4.1.1.2): data sets without bulk values, of a study, a series or an instance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.records import Attributes, Location
from vna.gateways.dicomweb.conditional import located
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.native_xml import to_native_xml
from vna.gateways.dicomweb.negotiate import Offer, negotiate
from vna.gateways.dicomweb.streaming import stream
from vna.ports.objects import ObjectStore
from vna.retrieve.metadata import linked, load_many

OFFERS = (
    Offer("application/dicom+json", related=False),
    Offer("application/json", related=False),
    Offer("application/dicom+xml", related=True),
)
_PIECE = 256 * 1024


async def retrieve_metadata(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../metadata`` of a study, a series or an instance."""
    choice = negotiate(gateway.accept(request), OFFERS)
    found = await gateway.in_thread(located, gateway, request)
    data_sets = _data_sets(gateway.view(request).objects, found, gateway.links(request))
    if not choice.offer.related:
        return await stream(gateway, _json(data_sets), {"Content-Type": choice.offer.content})
    boundary = new_boundary()
    parts = (({"Content-Type": choice.offer.content}, (to_native_xml(each),)) for each in data_sets)
    headers = {"Content-Type": related_type(choice.offer.content, boundary)}
    return await stream(gateway, write_related(parts, boundary), headers)


def _data_sets(objects: ObjectStore, found: Sequence[Location], links: Links) -> Iterator[Attributes]:
    for location, metadata in load_many(objects, found):
        base = links.instance(location.uids.study, location.uids.series, location.uids.sop)
        yield linked(metadata, lambda path, base=base: f"{base}/bulkdata/{path}")  # type: ignore[misc]


def _json(data_sets: Iterator[Attributes]) -> Iterator[bytes]:
    """Yield a JSON array, in pieces of some size."""
    waiting = [b"["]
    size = 0
    for number, data_set in enumerate(data_sets):
        text = orjson.dumps(data_set)
        waiting += [b",", text] if number else [text]
        size += len(text)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    waiting.append(b"]")
    yield b"".join(waiting)
