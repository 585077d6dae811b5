"""Conditional requests (RFC 9110 13) for what is retrieved: a client that has the content is told so, without it.

The tag of a resource is made of the digests of the contents that it shows, and
of what else forms the answer: the path, what the client accepts, and the URLs
in it. So it is known before anything but the index is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response

from vna import __version__
from vna.domain.records import Location
from vna.gateways.dicomweb.context import Gateway
from vna.retrieve.select import select

Handler = Callable[[Gateway, Request], Awaitable[Response]]

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
# Who is signed in may decide what is shown.
_VARY = "Accept, Authorization, Cookie"
_CACHE = "private, no-cache"


def conditional(handler: Handler) -> Handler:
    """Return a handler of a retrieve resource that answers ``If-None-Match``, and has a tag in its answers.

    Answers 304 if the client has what would be sent. The handler finds the
    instances by :func:`located`, so that the index is asked once.
    """

    async def answer(gateway: Gateway, request: Request) -> Response:
        found = await gateway.in_thread(located, gateway, request)
        tag = request.state.tag = _tag(gateway, request, found)
        if (known := _known(request, tag)) is not None:
            return Response(status_code=304, headers={"ETag": known, "Vary": _VARY, "Cache-Control": _CACHE})
        response = await handler(gateway, request)
        if withheld := getattr(request.state, "withheld", 0):
            # PS3.18 Table 10.4.3-1: some, but not all, of what was asked for. Browsers take no download with it.
            if response.headers.get("content-type", "").startswith("multipart/"):
                response.status_code = 206
            response.headers.append("Warning", f'299 vna "{withheld} of the instances are withheld from this role"')
        if response.status_code in {200, 206}:
            # Only what can be had by ranges is the same byte for byte: each multipart has a boundary of its own.
            strong = "accept-ranges" in response.headers
            response.headers["ETag"] = tag if strong else f"W/{tag}"
            response.headers.add_vary_header(_VARY)
            response.headers.setdefault("Cache-Control", _CACHE)
            response.headers.setdefault("Content-Location", gateway.links(request).own(request))
        return response

    return answer


def located(gateway: Gateway, request: Request) -> list[Location]:
    """Return the instances that a request's path names, looked up once a request; a blocking call.

    Raises ``NotFoundError`` if there are none.
    """
    found: list[Location] | None = getattr(request.state, "located", None)
    if found is None:
        path = request.path_params
        found = select(gateway.view(request).index, path["study"], path.get("series"), path.get("instance"))
        request.state.located = found
    return found


def released(gateway: Gateway, request: Request) -> list[Location]:
    """Return of the instances that a request's path names those whose contents are for who asks; a blocking call.

    Raises ``NotFoundError`` if there are none, ``WithheldError`` if none of them are.
    """
    found = located(gateway, request)
    kept = gateway.view(request).release(found)
    request.state.withheld = len(found) - len(kept)
    return kept


def range_field(request: Request) -> str | None:
    """Return the Range field, unless it is of other content than there is now (``If-Range``, RFC 9110 13.1.5)."""
    condition = request.headers.get("if-range")
    if condition is None or condition.strip() == getattr(request.state, "tag", None):
        return request.headers.get("range")
    return None


def _tag(gateway: Gateway, request: Request, found: Iterable[Location]) -> str:
    links = gateway.links(request)
    # Of the same instances somebody may see something else than another: the tag is not the same then.
    seen = repr(gateway.archive.settings.deidentify) if gateway.view(request).deidentified else ""
    digest = hashlib.sha256()
    for text in (__version__, seen, links.root, request.url.path, request.url.query, *gateway.accept(request)):
        digest.update(f"{text}\0".encode())
    for location in found:
        digest.update(f"{location.uids.sop}\0{location.digest}\0".encode())
    return f'"{digest.hexdigest()[:40]}"'


def _known(request: Request, tag: str) -> str | None:
    """Return the client's tag that names the present content (weak comparison, RFC 9110 13.1.2)."""
    for field in request.headers.getlist("if-none-match"):
        if field.strip() == "*":
            return tag
        for named in _TAG.finditer(field):
            if named[1] == tag:
                return named[0]
    return None
