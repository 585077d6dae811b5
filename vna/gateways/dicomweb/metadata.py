"""WADO-RS metadata (PS3.18 10.4.1.1.2): data sets without bulk values, of a study, a series or an instance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
from vna.ports.objects import ObjectReader
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
        return await stream(gateway, _json(each for _, each in data_sets), {"Content-Type": choice.offer.content})
    boundary = new_boundary()
    parts = (_part(choice.offer.content, url, each) for url, each in data_sets)
    headers = {"Content-Type": related_type(choice.offer.content, boundary)}
    return await stream(gateway, write_related(parts, boundary), headers)


def _part(content: str, url: str, data_set: Attributes) -> tuple[dict[str, str], tuple[bytes]]:
    document = to_native_xml(data_set)
    headers = {"Content-Type": content, "Content-Location": f"{url}/metadata", "Content-Length": str(len(document))}
    return headers, (document,)


def _data_sets(objects: ObjectReader, found: Sequence[Location], links: Links) -> Iterator[tuple[str, Attributes]]:
    """Yield the URL of each instance, and its data set."""
    for location, metadata in load_many(objects, found):
        base = links.at(location)
        yield base, linked(metadata, lambda path, base=base: f"{base}/bulkdata/{path}")  # type: ignore[misc]


def _json(data_sets: Iterable[Attributes]) -> Iterator[bytes]:
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
