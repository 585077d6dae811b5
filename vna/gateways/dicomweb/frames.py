"""WADO-RS frames and bulk data (PS3.18 10.4.1.1.1, 10.4.1.1.5): pixels as stored, or native."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from vna.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from vna.dicom.header import Bulk
from vna.dicom.multipart import new_boundary, related_type, write_related
from vna.domain.errors import InvalidInputError, NotFoundError
from vna.domain.records import Location
from vna.gateways.dicomweb.conditional import range_field, released
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.media import OCTETS, media_type_of, with_syntax
from vna.gateways.dicomweb.negotiate import STORED, Choice, Offer, negotiate
from vna.gateways.dicomweb.streaming import byte_range, range_headers, stream
from vna.ingest.document import Metadata
from vna.retrieve.frames import PIXEL_PATHS, Frames
from vna.retrieve.metadata import load
from vna.retrieve.values import ValueReader

MAX_FRAMES = 100_000
OFFERS = (Offer(OCTETS, related=True), Offer(OCTETS, related=False))
"""Forms that every frame can be had in that can be decoded; compressed ones by their own type, too."""

Part = tuple[dict[str, str], Iterator[bytes]]
_NATIVE = frozenset({EXPLICIT_LITTLE, IMPLICIT_LITTLE})
_FRAME_LIST = re.compile(r"[0-9]{1,9}(?:,[0-9]{1,9})*")
_BULK_PATH = re.compile(r"[0-9A-F]{8}(?:\.[0-9]{1,6}\.[0-9A-F]{8}){0,64}")


def parse_frames(text: str) -> list[int]:
    """Read a list of frame numbers (PS3.18 10.4.1.1.1), from 1.

    Raises ``InvalidInputError`` for what is none.
    """
    if not _FRAME_LIST.fullmatch(text):
        raise InvalidInputError(f"{text[:100]!r} is no list of frame numbers separated by commas")
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) > MAX_FRAMES:
        raise InvalidInputError(f"more than {MAX_FRAMES} frames are asked for")
    if not all(numbers):
        raise InvalidInputError("frames are numbered from 1")
    return numbers


async def retrieve_frames(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../frames/{list}``."""
    numbers = parse_frames(request.path_params["frames"])
    links = gateway.links(request)

    def prepare() -> tuple[Frames, Choice, Callable[[int], Part]]:
        location = _locate(gateway, request)
        frames = Frames.of(gateway.view(request).objects, location, gateway.pictures.decode)
        frames.check(numbers)
        choice = _choose(gateway.accept(request), frames, single=len(numbers) == 1)
        return frames, choice, _part_maker(frames, choice, _url(links, location))

    _, choice, make = await gateway.in_thread(prepare)
    return await _send(gateway, choice, make, numbers)


def _choose(accept: Sequence[str], frames: Frames, *, single: bool) -> Choice:
    own = media_type_of(frames.transfer_syntax) if frames.compressed else OCTETS
    contents = [OCTETS] if own == OCTETS else [OCTETS, own] if frames.decodable else [own, OCTETS]
    offers = [Offer(content, related=True) for content in contents]
    if single:
        offers += [Offer(content, related=False) for content in contents]
    choice = negotiate(accept, offers)
    if _as_stored(frames, choice):
        return choice
    asked = ", ".join(choice.syntaxes)
    if choice.offer.content != OCTETS:
        detail = f"the frames are stored in transfer syntax {frames.transfer_syntax}, not in {asked}"
        raise HttpError(406, "not-acceptable", detail)
    if choice.syntaxes and not ({STORED} | _NATIVE) & set(choice.syntaxes):
        detail = f"frames are to be had in transfer syntax {frames.transfer_syntax} as stored, or {EXPLICIT_LITTLE}"
        raise HttpError(406, "not-acceptable", f"{detail}, not in {asked}")
    if not frames.decodable:
        detail = f"frames in transfer syntax {frames.transfer_syntax} cannot be decoded"
        raise HttpError(406, "not-acceptable", f"{detail}; ask for {own} to have them as stored")
    return choice


def _as_stored(frames: Frames, choice: Choice) -> bool:
    """Say whether compressed frames go out as they are."""
    if not frames.compressed:
        return False
    if STORED in choice.syntaxes or frames.transfer_syntax in choice.syntaxes:
        return True
    return choice.offer.content != OCTETS and not choice.syntaxes


def _part_maker(frames: Frames, choice: Choice, url: str) -> Callable[[int], Part]:
    stored = _as_stored(frames, choice)
    syntax = frames.transfer_syntax if stored else EXPLICIT_LITTLE
    content_type = with_syntax(choice.offer.content, syntax)

    def make(number: int) -> Part:
        headers = {"Content-Type": content_type, "Content-Location": f"{url}/frames/{number}"}
        if (length := frames.length(number, stored=stored)) is not None:
            headers["Content-Length"] = str(length)
        return headers, frames.stored(number) if stored else frames.native(number)

    return make


async def _send(gateway: Gateway, choice: Choice, make: Callable[[int], Part], numbers: Sequence[int]) -> Response:
    if not choice.offer.related:
        headers, content = make(numbers[0])
        return await stream(gateway, content, headers)
    boundary = new_boundary()
    body = write_related((make(number) for number in numbers), boundary)
    return await stream(gateway, body, {"Content-Type": related_type(choice.offer.content, boundary)})


async def retrieve_bulk(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET .../bulkdata/{path}``.

    Encapsulated pixel data is a part for each frame when its own type, or as
    stored, is asked for, and else the decoded frames in one value.
    """
    path = request.path_params["path"].upper()
    links = gateway.links(request)
    location, metadata, bulk = await gateway.in_thread(_find, gateway, request, path)
    url = f"{_url(links, location)}/bulkdata/{path}"
    if not bulk.encapsulated:
        return await _plain(gateway, request, metadata, bulk, url)
    if path not in PIXEL_PATHS:
        return await _icon(gateway, request, metadata, bulk, url)

    def prepare() -> tuple[Frames, Choice, Callable[[int], Part]]:
        frames = Frames(gateway.view(request).objects, metadata, gateway.pictures.decode)
        choice = _choose(gateway.accept(request), frames, single=True)
        return frames, choice, _part_maker(frames, choice, _url(links, location))

    frames, choice, make = await gateway.in_thread(prepare)
    numbers = range(1, frames.count + 1)
    if _as_stored(frames, choice):
        return await _send(gateway, choice, make, numbers)
    value = (piece for number in numbers for piece in frames.native(number))
    headers = {"Content-Type": f"{OCTETS}; transfer-syntax={EXPLICIT_LITTLE}", "Content-Location": url}
    return await _one(gateway, choice, headers, value)


def _find(gateway: Gateway, request: Request, path: str) -> tuple[Location, Metadata, Bulk]:
    location = _locate(gateway, request)
    metadata = load(gateway.view(request).objects, location)
    bulk = metadata.header.bulk.get(path) if _BULK_PATH.fullmatch(path) else None
    if bulk is None:
        raise NotFoundError(f"the instance has no bulk value {path[:200]}")
    return location, metadata, bulk


async def _plain(gateway: Gateway, request: Request, metadata: Metadata, bulk: Bulk, url: str) -> Response:
    choice = negotiate(gateway.accept(request), (Offer(OCTETS, related=False), Offer(OCTETS, related=True)))
    if choice.syntaxes and not ({STORED} | _NATIVE) & set(choice.syntaxes):
        raise HttpError(406, "not-acceptable", f"the value is to be had in transfer syntax {EXPLICIT_LITTLE}")
    reader = ValueReader(gateway.view(request).objects, metadata)
    headers = {"Content-Type": f"{OCTETS}; transfer-syntax={EXPLICIT_LITTLE}", "Content-Location": url}
    if metadata.header.deflated:
        return await _one(gateway, choice, headers, reader.read(bulk))
    if not choice.offer.related:
        headers["Accept-Ranges"] = "bytes"
    part = byte_range(range_field(request), bulk.length)
    if part is None:
        return await _one(gateway, choice, headers | {"Content-Length": str(bulk.length)}, reader.read(bulk))
    # Within a multipart, a range is one of the value, and told by the part (PS3.18 Table 8.4.3-1).
    start, length = part
    headers |= range_headers(start, length, bulk.length)
    return await _one(gateway, choice, headers, reader.read(bulk, start, length), 206)


async def _icon(gateway: Gateway, request: Request, metadata: Metadata, bulk: Bulk, url: str) -> Response:
    """Answer encapsulated pixel data within a sequence: one image, as stored."""
    syntax = metadata.header.transfer_syntax
    content = media_type_of(syntax)
    choice = negotiate(gateway.accept(request), (Offer(content, related=True), Offer(content, related=False)))
    reader = ValueReader(gateway.view(request).objects, metadata)
    headers = {"Content-Type": with_syntax(content, syntax), "Content-Location": url}
    return await _one(gateway, choice, headers, reader.fragments(bulk.fragments))


async def _one(
    gateway: Gateway, choice: Choice, headers: dict[str, str], content: Iterator[bytes], status: int = 200
) -> Response:
    if not choice.offer.related:
        return await stream(gateway, content, headers, status)
    boundary = new_boundary()
    body = write_related([(headers, content)], boundary)
    return await stream(gateway, body, {"Content-Type": related_type(choice.offer.content, boundary)}, status)


def _locate(gateway: Gateway, request: Request) -> Location:
    return released(gateway, request)[0]


def _url(links: Links, location: Location) -> str:
    return links.instance(location.uids.study, location.uids.series, location.uids.sop)
