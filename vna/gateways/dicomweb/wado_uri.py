"""WADO-URI (PS3.18 9): one object, named by the query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.elements import EXPLICIT_LITTLE
from vna.domain.errors import InvalidInputError, UnsupportedError
from vna.domain.records import Location
from vna.gateways.dicomweb import documents
from vna.gateways.dicomweb.conditional import conditional, released
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.media import with_syntax
from vna.gateways.dicomweb.negotiate import Offer, negotiate, parse_media_types
from vna.gateways.dicomweb.rendered import GIF, JPEG, PNG, overlaid
from vna.gateways.dicomweb.streaming import stream
from vna.gateways.dicomweb.wado import DICOM
from vna.ports.objects import ObjectReader
from vna.retrieve.instances import STORED, read, rendition
from vna.retrieve.render_request import (
    LARGEST_SIDE,
    Options,
    Viewport,
    number,
    parse_annotation,
    whole,
    window_of,
)
from vna.retrieve.render_source import Source

PARAMETERS = ("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "transferSyntax",
              "frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality",
              "annotation")  # fmt: skip
"""Query parameters."""
_NAMES = {"studyUID": "study", "seriesUID": "series", "objectUID": "instance"}
# Of PS3.18 9.5.1, one is in the table of parameters, the other in the syntax of the request.
_ANNOTATION = ("annotation", "imageAnnotation")
_PRESENTATION = ("presentationUID", "presentationSeriesUID")
_PICTURES = (JPEG, PNG, GIF)
_SYNTAX = re.compile(r"[0-9.]{1,64}|\*")


async def retrieve_uri(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET ...?requestType=WADO&studyUID=...&seriesUID=...&objectUID=...``."""
    query = request.query_params
    if query.get("requestType") != "WADO":
        raise InvalidInputError("requestType is to be WADO (PS3.18 9.1.2)")
    if missing := [name for name in _NAMES if not query.get(name)]:
        raise InvalidInputError(f"{', '.join(missing)} is missing")
    if query.get("anonymize"):
        raise HttpError(400, "unsupported", "anonymize: the archive does not de-identify what it retrieves by WADO-URI")
    if state := next((name for name in _PRESENTATION if query.get(name)), ""):
        raise HttpError(400, "unsupported", f"{state}: presentation states are not applied")
    # The resource is named as WADO-RS names it, for what is common to both.
    request.scope["path_params"] = {ours: query[theirs] for theirs, ours in _NAMES.items()}
    return await conditional(_retrieve)(gateway, request)


async def _retrieve(gateway: Gateway, request: Request) -> Response:
    location = (await gateway.in_thread(released, gateway, request))[0]
    objects = gateway.view(request).objects
    query = request.query_params
    source = await gateway.in_thread(Source.of, objects, location, gateway.pictures)
    media = _content_type(query.get("contentType", ""), ", ".join(request.headers.getlist("accept")), source)
    if media == DICOM:
        return await _dicom(gateway, objects, location, query)
    if query.get("transferSyntax"):
        raise InvalidInputError("transferSyntax goes with contentType=application/dicom alone")
    if media not in _PICTURES:
        return await stream(gateway, documents.content(source, media), documents.headers(source, media))
    frames = source.frames
    options = _options(query, media, frames.image.rows, frames.image.columns)
    options = replace(options, overlays=overlaid(request))
    if query.get("frameNumber"):
        numbers = [whole(query["frameNumber"], "frameNumber", 1, frames.count)]
    else:
        numbers = list(range(1, frames.count + 1)) if media == GIF else [1]
    made = await gateway.in_picture_thread(source.picture, options, numbers)
    return Response(made, media_type=media)


def _content_type(asked: str, accept: str, source: Source) -> str:
    """Choose the form, by ``contentType`` before the Accept field (PS3.18 9.1.2.2.1, 9.3): a picture unless asked."""
    named = parse_media_types(asked)
    if any({"transfer-syntax", "charset"} & set(each.parameters) for each in named):
        raise InvalidInputError("contentType: transfer syntax and character set are parameters by themselves")
    if len(names := {each.content for each in named}) > 1 and DICOM in names:
        raise InvalidInputError(f"contentType is {DICOM}, or rendered media types, and not both")
    possible = (*(_PICTURES if source.is_image else documents.kinds(source)), DICOM)
    values = [text for text in (asked, accept) if text.strip()]
    return negotiate(values or [""], [Offer(each, related=False) for each in possible]).offer.content


async def _dicom(gateway: Gateway, objects: ObjectReader, location: Location, query: Mapping[str, str]) -> Response:
    for name in ("frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", *_ANNOTATION):
        if query.get(name):
            raise InvalidInputError(f"{name} does not go with contentType=application/dicom")
    asked = query.get("transferSyntax") or EXPLICIT_LITTLE
    if not _SYNTAX.fullmatch(asked):
        raise InvalidInputError(f"transferSyntax: {asked[:80]!r} is no UID")
    try:
        item = rendition(location, (asked,))
    except UnsupportedError as error:
        raise HttpError(406, "not-acceptable", f"{error}; transferSyntax={STORED} has it as stored") from error
    headers = {"Content-Type": with_syntax(DICOM, item.transfer_syntax)}
    if item.size is not None:
        headers["Content-Length"] = str(item.size)
    return await stream(gateway, read(objects, item, gateway.pictures.decode), headers)


def _options(query: Mapping[str, str], media: str, rows: int, columns: int) -> Options:
    """Read what a picture depends on (PS3.18 9.1.2.2)."""
    options = Options(media, viewport=_viewport(query, rows, columns))
    centre, width = query.get("windowCenter"), query.get("windowWidth")
    if (centre is None) != (width is None):
        raise InvalidInputError("windowCenter and windowWidth go together")
    if centre is not None and width is not None:
        window = window_of(number(centre, "windowCenter"), number(width, "windowWidth"), "LINEAR")
        options = replace(options, window=window)
    if query.get("imageQuality"):
        options = replace(options, quality=whole(query["imageQuality"], "imageQuality", 1, 100))
    if annotation := next((query[name] for name in _ANNOTATION if query.get(name)), ""):
        options = replace(options, annotation=parse_annotation(annotation))
    return options


def _viewport(query: Mapping[str, str], rows: int, columns: int) -> Viewport:
    height = whole(query["rows"], "rows", 1, LARGEST_SIDE) if query.get("rows") else 0
    width = whole(query["columns"], "columns", 1, LARGEST_SIDE) if query.get("columns") else 0
    if not query.get("region"):
        return Viewport(width, height)
    parts = [number(part, "region") for part in query["region"].split(",")]
    if len(parts) != 4:
        raise InvalidInputError("region is not xmin,ymin,xmax,ymax")
    left, top, right, bottom = parts
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidInputError("region: xmin,ymin,xmax,ymax are parts of the image, from 0.0 to 1.0, in rising order")
    return Viewport(width, height, left * columns, top * rows, (right - left) * columns, (bottom - top) * rows)
