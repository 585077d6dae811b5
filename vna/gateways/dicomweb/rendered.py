"""Rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): pictures of what is stored, for any browser."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.errors import ArchiveError, InvalidInputError, NotFoundError
from vna.domain.records import Location
from vna.gateways.dicomweb import documents
from vna.gateways.dicomweb.conditional import located, released
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.frames import parse_frames
from vna.gateways.dicomweb.negotiate import Choice, Offer, negotiate, parse_media_types
from vna.gateways.dicomweb.streaming import stream
from vna.retrieve.render_request import (
    Options,
    Viewport,
    parse_annotation,
    parse_profile,
    parse_quality,
    parse_size,
    parse_viewport,
    parse_window,
)
from vna.retrieve.render_source import Source, candidates

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
THUMBNAIL_SIDE = 128
DICOM_TYPES = frozenset({"application/dicom", "application/dicom+json", "application/dicom+xml"})

_MEDIA = (JPEG, PNG, GIF)
_SINGLE = tuple(Offer(media, related=False) for media in _MEDIA)
_RELATED = tuple(Offer(media, related=True) for media in _MEDIA)
OFFERS = (*_SINGLE, *_RELATED, *(Offer(kind, related=False) for kind in documents.KINDS))
THUMBNAIL_OFFERS = _SINGLE
PARAMETERS = ("window", "viewport", "quality", "annotation", "iccprofile")
"""Query parameters of a rendered resource; of a thumbnail there is ``viewport`` alone."""

_log = logging.getLogger(__name__)

Part = tuple[dict[str, str], Iterator[bytes]]


def options_of(request: Request) -> Options:
    """Read the rendering parameters of a request (PS3.18 8.3.5); raises ``InvalidInputError`` for what is wrong."""
    given = request.query_params
    options = Options(overlays=overlaid(request))
    if "window" in given:
        options = replace(options, window=parse_window(given["window"]))
    if "viewport" in given:
        options = replace(options, viewport=parse_viewport(given["viewport"]))
    if "quality" in given:
        options = replace(options, quality=parse_quality(given["quality"]))
    if "annotation" in given:
        options = replace(options, annotation=parse_annotation(given["annotation"]))
    if "iccprofile" in given:
        options = replace(options, profile=parse_profile(given["iccprofile"]))
    return options


def overlaid(request: Request) -> bool:
    """Say whether overlay planes are shown: they may tell who the patient is."""
    return not pictures_only(request)


def pictures_only(request: Request) -> bool:
    """Say whether who asks may see pictures and nothing that names the patient."""
    scope = request.state.principal.scope
    return scope is not None and scope.pictures_only


def _chosen(gateway: Gateway, request: Request, offers: Sequence[Offer]) -> Choice:
    """Agree on a form; DICOM media types do not stand beside rendered ones (PS3.18 8.7.5)."""
    accept = gateway.accept(request)
    names = {each.content for text in accept for each in parse_media_types(text)}
    if DICOM_TYPES & names and {offer.content for offer in offers} & names:
        raise HttpError(400, "invalid-input", "a request is for DICOM media types or for rendered ones, not for both")
    return negotiate(accept, offers)


def _with_media(options: Options, choice: Choice) -> Options:
    if choice.offer.content == GIF and options.profile != "no":
        raise InvalidInputError(f"iccprofile: there are no profiles in {GIF}")
    return replace(options, media=choice.offer.content)


async def retrieve_rendered(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../rendered`` of a study, a series, an instance or frames."""
    options = options_of(request)
    numbers = parse_frames(request.path_params["frames"]) if "frames" in request.path_params else None
    objects = gateway.view(request).objects
    locations = await gateway.in_thread(released, gateway, request)
    if len(locations) > 1:
        return await _several(gateway, request, locations, options)
    source = await gateway.in_thread(Source.of, objects, locations[0], gateway.pictures)
    url = gateway.links(request).at(locations[0])
    if numbers is None and documents.kinds(source):
        return await _document(gateway, request, source, url)
    await gateway.in_thread(_check, source, numbers or ())
    choice = _chosen(gateway, request, (*_SINGLE, *_RELATED))
    options = _with_media(options, choice)
    animated = options.media == GIF and not choice.offer.related
    if numbers is None:
        # A picture of one frame shows the first of several; an animation, or parts, show all.
        numbers = list(range(1, source.frames.count + 1)) if animated or choice.offer.related else [1]
    if choice.offer.related or (len(numbers) > 1 and not animated):
        return await _parts(gateway, choice, _frame_parts(source, options, numbers, url))
    made = await gateway.in_picture_thread(source.picture, options, numbers)
    return Response(made, media_type=options.media)


def _check(source: Source, numbers: Sequence[int]) -> None:
    source.frames.check(numbers or (1,))


async def retrieve_thumbnail(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../thumbnail``: one picture that stands for all, of the middle instance that has one."""
    asked = request.query_params.get("viewport")
    viewport = Viewport(THUMBNAIL_SIDE, THUMBNAIL_SIDE) if asked is None else parse_size(asked)
    # Nothing else is for thumbnails (Table 8.3.5-2): with an annotation it would tell who the patient is.
    options = Options(_chosen(gateway, request, _SINGLE).offer.content, viewport=viewport)
    frame = parse_frames(request.path_params["frames"])[0] if "frames" in request.path_params else None
    locations = await gateway.in_thread(located, gateway, request)
    made = await gateway.in_picture_thread(_representative, gateway, request, locations, options, frame)
    return Response(made, media_type=options.media)


def _representative(
    gateway: Gateway, request: Request, locations: Sequence[Location], options: Options, frame: int | None
) -> bytes:
    failed: ArchiveError = NotFoundError("there is no thumbnail: what is stored has no pixels")
    objects = gateway.view(request).objects
    for location in candidates(locations):
        source = Source.of(objects, location, gateway.pictures)
        if not source.is_image:
            continue
        try:
            return source.picture(options, (frame or source.frames.count // 2 + 1,))
        except ArchiveError as error:
            failed = error
            if error.retry:
                break
    raise failed


async def _document(gateway: Gateway, request: Request, source: Source, url: str) -> Response:
    if pictures_only(request):
        # However it is asked for: where the query names no form of it, the Accept field does.
        raise HttpError(403, "forbidden", "this link shows pictures, and no documents")
    kinds = documents.kinds(source)
    offers = [Offer(kind, related=related) for related in (False, True) for kind in kinds]
    choice = _chosen(gateway, request, offers)
    kind, content = choice.offer.content, documents.content(source, choice.offer.content)
    if choice.offer.related:
        part = {"Content-Type": documents.headers(source, kind)["Content-Type"], "Content-Location": f"{url}/rendered"}
        return await _parts(gateway, choice, iter([(part, content)]))
    return await stream(gateway, content, documents.headers(source, kind))


async def _several(gateway: Gateway, request: Request, locations: Sequence[Location], options: Options) -> Response:
    choice = _chosen(gateway, request, (*_RELATED, *_SINGLE))
    options = _with_media(options, choice)
    return await _parts(gateway, choice, _instance_parts(gateway, request, locations, options))


def _frame_parts(source: Source, options: Options, numbers: Sequence[int], url: str) -> Iterator[Part]:
    for number in numbers:
        yield _part(options, f"{url}/frames/{number}/rendered", source.picture(options, (number,)))


def _part(options: Options, url: str, made: bytes) -> Part:
    headers = {"Content-Type": options.media, "Content-Location": url, "Content-Length": str(len(made))}
    return headers, iter((made,))


def _instance_parts(
    gateway: Gateway, request: Request, locations: Sequence[Location], options: Options
) -> Iterator[Part]:
    """Yield a picture of each instance; one that cannot be shown is left out, since the answer is under way."""
    objects, links = gateway.view(request).objects, gateway.links(request)
    for location in locations:
        try:
            source = Source.of(objects, location, gateway.pictures)
            if not source.is_image:
                continue
            numbers = range(1, source.frames.count + 1) if options.media == GIF else (1,)
            made = source.picture(options, numbers)
        except ArchiveError as error:
            if error.retry:
                raise
            _log.warning("no picture of instance %s: %s", location.uids.sop, error)
            continue
        yield _part(options, f"{links.at(location)}/rendered", made)


async def _parts(gateway: Gateway, choice: Choice, parts: Iterator[Part]) -> Response:
    # The first is made before the answer starts, so that there still is a status for none at all.
    first = await gateway.in_picture_thread(next, parts, None)
    if first is None:
        raise HttpError(406, "not-acceptable", "none of the instances can be shown as a picture")
    boundary = new_boundary()
    body = write_related(_again(first, parts), boundary)
    return await stream(gateway, body, {"Content-Type": related_type(choice.offer.content, boundary)})


def _again(first: Part, parts: Iterator[Part]) -> Iterator[Part]:
    yield first
    yield from parts
