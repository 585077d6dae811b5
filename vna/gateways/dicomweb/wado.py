"""WADO-RS, the retrieve transaction (PS3.18 10.4): studies, series and instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.elements import EXPLICIT_LITTLE
from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.errors import UnsupportedError
from vna.domain.records import Location
from vna.gateways.dicomweb import bulkdata
from vna.gateways.dicomweb.conditional import range_field, released
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.media import with_syntax
from vna.gateways.dicomweb.negotiate import STORED, Choice, Offer, negotiate
from vna.gateways.dicomweb.streaming import byte_range, range_headers, stream
from vna.gateways.dicomweb.zipped import ZIP, write_zip, zip_name
from vna.retrieve.instances import Rendition, read, read_many, rendition

DICOM = "application/dicom"
_SINGLE = Offer(DICOM, related=False)
_ZIP = Offer(ZIP, related=False)
OFFERS = (Offer(DICOM, related=True), _ZIP, *bulkdata.OFFERS)
INSTANCE_OFFERS = (OFFERS[0], _SINGLE, *OFFERS[1:])
# PS3.18 8.7.3.5.2: who names no transfer syntax gets this one.
_DEFAULT_SYNTAXES = (EXPLICIT_LITTLE,)


async def retrieve(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /studies/{study}``, and below it a series or an instance."""
    is_instance = "instance" in request.path_params
    choice = negotiate(gateway.accept(request), INSTANCE_OFFERS if is_instance else OFFERS)
    if choice.offer in bulkdata.OFFERS:
        # Its bulk values are one of the forms of a resource (PS3.18 Table 10.4.4-1).
        return await bulkdata.retrieve_bulkdata(gateway, request)
    items = await gateway.in_thread(_renditions, gateway, request, choice)
    if choice.offer == _ZIP:
        name = zip_name(items, below_study="series" in request.path_params)
        headers = {"Content-Type": ZIP, "Content-Disposition": f'attachment; filename="{name}"'}
        return await stream(gateway, write_zip(gateway.view(request).objects, items, gateway.pictures.decode), headers)
    if choice.offer.related:
        boundary = new_boundary()
        body = _related(gateway, request, items, boundary)
        return await stream(gateway, body, {"Content-Type": related_type(DICOM, boundary)})
    return await _single(gateway, request, items[0])


def _renditions(gateway: Gateway, request: Request, choice: Choice) -> list[Rendition]:
    # A ZIP is for keeping: it holds what was received, unless something else is asked for.
    default = (STORED,) if choice.offer == _ZIP else _DEFAULT_SYNTAXES
    return [_rendition(each, choice.syntaxes or default) for each in released(gateway, request)]


def _rendition(location: Location, syntaxes: Sequence[str]) -> Rendition:
    try:
        return rendition(location, syntaxes)
    except UnsupportedError as error:
        hint = "ask for transfer-syntax=* to have it as stored"
        raise HttpError(406, "not-acceptable", f"{error}; {hint}") from error


def _related(gateway: Gateway, request: Request, items: Sequence[Rendition], boundary: str) -> Iterator[bytes]:
    links = gateway.links(request)
    found = read_many(gateway.view(request).objects, items, gateway.pictures.decode)
    return write_related(((_part_headers(item, links), content) for item, content in found), boundary)


def _part_headers(item: Rendition, links: Links) -> dict[str, str]:
    """Return the header fields of a part (PS3.18 Table 8.6.1-1); the length of what is transcoded is not known yet."""
    length = {} if item.size is None else {"Content-Length": str(item.size)}
    return _headers(item) | {"Content-Location": links.at(item.location)} | length


def _headers(item: Rendition) -> dict[str, str]:
    return {"Content-Type": with_syntax(DICOM, item.transfer_syntax)}


async def _single(gateway: Gateway, request: Request, item: Rendition) -> Response:
    objects = gateway.view(request).objects
    headers = _headers(item)
    if item.size is None:
        return await stream(gateway, read(objects, item, gateway.pictures.decode), headers)
    headers["Accept-Ranges"] = "bytes"
    part = byte_range(range_field(request), item.size)
    if part is None:
        return await stream(gateway, read(objects, item), headers | {"Content-Length": str(item.size)})
    start, length = part
    pieces = objects.stream(item.location.key, start, length)
    return await stream(gateway, pieces, headers | range_headers(start, length, item.size), 206)
