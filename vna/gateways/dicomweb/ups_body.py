"""The payload of a request on work items: one data set, in JSON or XML (PS3.18 11.1.3)."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from vna.dicom.from_json import data_set_of, parse_json
from vna.dicom.from_xml import parse_xml
from vna.dicom.multipart import MultipartReader, PartBegin, PartData
from vna.domain.errors import InvalidInputError, TooLargeError
from vna.domain.records import Attributes
from vna.gateways.dicomweb.errors import HttpError
from vna.gateways.dicomweb.negotiate import MediaType, parse_media_types

MOST_BYTES = 4 << 20
"""Bytes of a work item at most."""

_JSON = frozenset({"application/dicom+json", "application/json"})
_XML = "application/dicom+xml"
_RELATED = "multipart/related"
SUPPORTED = ("application/dicom+json", _XML, f'{_RELATED}; type="{_XML}"', f'{_RELATED}; type="application/dicom+json"')
"""Media types of a payload."""


async def read_data_set(request: Request, *, optional: bool = False) -> Attributes:
    """Return the data set of a request; an empty one if there is no payload and none is needed.

    Raises
    ------
    HttpError
        415, naming what is supported.
    InvalidInputError
        It is none, or more than one, or too long.
    """
    data = await _body(request)
    if not data and optional:
        return {}
    return _data_set(_media_type(request.headers.get("content-type", "")), data)


async def _body(request: Request) -> bytes:
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip"}:
        raise HttpError(415, "unsupported-media-type", f"Content-Encoding {coding[:40]!r} is not supported; gzip is")
    received = bytearray()
    async for piece in request.stream():
        received += piece
        if len(received) > MOST_BYTES:
            raise _too_large()
    if coding == "identity":
        return bytes(received)
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(bytes(received), MOST_BYTES + 1)
    except zlib.error as error:
        raise InvalidInputError(f"the payload is no gzip: {error}") from error
    if len(data) > MOST_BYTES:
        raise _too_large()
    if not unpacker.eof:
        raise InvalidInputError("the payload is no whole gzip")
    return data


def _too_large() -> TooLargeError:
    return TooLargeError(f"a work item has at most {MOST_BYTES} bytes")


def _media_type(field: str) -> MediaType:
    given = parse_media_types(field)
    return given[0] if given else MediaType("")


def _data_set(kind: MediaType, data: bytes) -> Attributes:
    if kind.name == _RELATED:
        headers, data = _only_part(kind.parameters.get("boundary", ""), data)
        kind = _media_type(headers.get("content-type") or kind.parameters.get("type", ""))
    if kind.name in _JSON:
        found = parse_json(data)
    elif kind.name == _XML:
        found = list(parse_xml(data))
    else:
        detail = f"Content-Type {kind.name[:200]!r} is not supported; send {', or '.join(SUPPORTED)}"
        raise HttpError(415, "unsupported-media-type", detail, {"Accept": ", ".join(SUPPORTED)})
    if len(found) != 1:
        raise InvalidInputError(f"the payload is one data set, not {len(found)}")
    return data_set_of(found[0])


def _only_part(boundary: str, data: bytes) -> tuple[dict[str, str], bytes]:
    reader = MultipartReader(boundary)
    parts: list[tuple[dict[str, str], bytearray]] = []
    for event in reader.feed(data):
        if isinstance(event, PartBegin):
            parts.append((dict(event.headers), bytearray()))
        elif isinstance(event, PartData):
            parts[-1][1].extend(event.data)
    reader.close()
    if len(parts) != 1:
        raise InvalidInputError(f"the payload has a single part, not {len(parts)}")
    return parts[0][0], bytes(parts[0][1])
