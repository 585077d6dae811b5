"""Rendered resources and thumbnails (PS3.18 10.4.1.1.2, 10.4.1.1.4): pictures of what is stored, for any browser."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.errors import ArchiveError, NotFoundError
from vna.domain.records import Location
from vna.gateways.dicomweb.conditional import located, released
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.frames import parse_frames
from vna.gateways.dicomweb.negotiate import Choice, Offer, negotiate
from vna.gateways.dicomweb.streaming import stream
from vna.retrieve.render_request import (
    Options,
    Viewport,
    parse_annotation,
    parse_quality,
    parse_viewport,
    parse_window,
)
from vna.retrieve.render_source import PDF, Source, candidates

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
THUMBNAIL_SIDE = 128

_MEDIA = (JPEG, PNG, GIF)
_SINGLE = tuple(Offer(media, related=False) for media in _MEDIA)
_RELATED = tuple(Offer(media, related=True) for media in _MEDIA)
_PDF = (Offer(PDF, related=False), Offer(PDF, related=True))

_log = logging.getLogger(__name__)

Part = tuple[dict[str, str], Iterator[bytes]]


def options_of(request: Request) -> Options:
    """Read the rendering parameters of a request (PS3.18 8.3.5); raises ``InvalidInputError`` for what is wrong."""
    given = request.query_params
    options = Options()
    if "window" in given:
        options = replace(options, window=parse_window(given["window"]))
    if "viewport" in given:
        options = replace(options, viewport=parse_viewport(given["viewport"]))
    if "quality" in given:
        options = replace(options, quality=parse_quality(given["quality"]))
    if "annotation" in given:
        options = replace(options, annotation=parse_annotation(given["annotation"]))
    return options


async def retrieve_rendered(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../rendered`` of a study, a series, an instance or frames."""
    options = options_of(request)
    numbers = parse_frames(request.path_params["frames"]) if "frames" in request.path_params else None
    objects = gateway.view(request).objects
    locations = await gateway.in_thread(released, gateway, request)
    if len(locations) > 1:
        return await _several(gateway, request, locations, options)
    source = await gateway.in_thread(Source.of, objects, locations[0], gateway.pictures)
    if source.is_pdf and numbers is None:
        return await _document(gateway, request, source)
    await gateway.in_thread(_check, source, numbers or ())
    choice = negotiate(gateway.accept(request), (*_SINGLE, *_RELATED))
    options = replace(options, media=choice.offer.content)
    animated = options.media == GIF and not choice.offer.related
    if numbers is None:
        # A picture of one frame shows the first of several; an animation, or parts, show all.
        numbers = list(range(1, source.frames.count + 1)) if animated or choice.offer.related else [1]
    if choice.offer.related or (len(numbers) > 1 and not animated):
        return await _parts(gateway, choice, _frame_parts(source, options, numbers))
    made = await gateway.in_picture_thread(source.picture, options, numbers)
    return Response(made, media_type=options.media)


def _check(source: Source, numbers: Sequence[int]) -> None:
    source.frames.check(numbers or (1,))


async def retrieve_thumbnail(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../thumbnail``: one picture that stands for all, of the middle instance that has one."""
    options = options_of(request)
    if "viewport" not in request.query_params:
        options = replace(options, viewport=Viewport(THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    options = replace(options, media=negotiate(gateway.accept(request), _SINGLE).offer.content)
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


async def _document(gateway: Gateway, request: Request, source: Source) -> Response:
    choice = negotiate(gateway.accept(request), _PDF)
    if choice.offer.related:
        return await _parts(gateway, choice, iter([({"Content-Type": PDF}, source.document())]))
    return await stream(gateway, source.document(), {"Content-Type": PDF, "X-Content-Type-Options": "nosniff"})


async def _several(gateway: Gateway, request: Request, locations: Sequence[Location], options: Options) -> Response:
    choice = negotiate(gateway.accept(request), (*_RELATED, *_SINGLE))
    options = replace(options, media=choice.offer.content)
    return await _parts(gateway, choice, _instance_parts(gateway, request, locations, options))


def _frame_parts(source: Source, options: Options, numbers: Sequence[int]) -> Iterator[Part]:
    for number in numbers:
        yield {"Content-Type": options.media}, iter((source.picture(options, (number,)),))


def _instance_parts(
    gateway: Gateway, request: Request, locations: Sequence[Location], options: Options
) -> Iterator[Part]:
    """Yield a picture of each instance; one that cannot be shown is left out, since the answer is under way."""
    objects = gateway.view(request).objects
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
        yield {"Content-Type": options.media}, iter((made,))


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
