"""Content-Encoding gzip (RFC 9110 8.4, PS3.18 8.4.3) for answers that are text.

Never for DICOM, pixels or bulk data: they are large and mostly compressed
already, and ranges of them are asked for. Not for HTML either: a page may hold
a secret beside what a stranger can make it show.
"""

from __future__ import annotations

import zlib

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vna.gateways.dicomweb.negotiate import parse_media_types

SMALLEST = 1024
"""Bytes of an answer from which on it is compressed."""

COMPRESSED = frozenset(
    {
        "application/dicom+json",
        "application/dicom+xml",
        "application/javascript",
        "application/json",
        "application/vnd.sun.wadl+xml",
        "application/wasm",
        "image/svg+xml",
        "text/css",
        "text/javascript",
    }
)
_LEVEL = 4
_LARGE = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


class Compression:
    """Compresses answers on their way, piece by piece; small ones and those of other types pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        wanted = accepts_gzip(", ".join(Headers(scope=scope).getlist("accept-encoding")))
        await self._app(scope, receive, _Answer(send, wanted=wanted).take)


def accepts_gzip(field: str) -> bool:
    """Say whether a client takes gzip, by its Accept-Encoding (RFC 9110 12.5.3)."""
    weights: dict[str, float] = {}
    for item in field.lower().split(","):
        name, _, rest = item.partition(";")
        key, _, value = rest.partition("=")
        try:
            weights[name.strip()] = float(value) if key.strip() == "q" else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


class _Answer:
    """One answer: waits for its first kilobyte, then passes it on as it is or compressed."""

    def __init__(self, send: Send, *, wanted: bool) -> None:
        self._send = send
        self._wanted = wanted
        self._start: Message | None = None
        self._waiting = b""
        self._packer: zlib._Compress | None = None

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body" or (self._start is None and self._packer is None):
            await self._send(message)
        else:
            await self._body(message.get("body", b""), more=message.get("more_body", False))

    async def _begin(self, message: Message) -> None:
        headers = MutableHeaders(raw=message["headers"])
        if _is_text(headers.get("content-type", "")) and "content-encoding" not in headers:
            headers.add_vary_header("Accept-Encoding")
            if self._wanted and message["status"] not in {204, 206, 304}:
                self._start = message
                return
        await self._send(message)

    async def _body(self, body: bytes, *, more: bool) -> None:
        if self._start is not None:
            self._waiting += body
            if len(self._waiting) < SMALLEST and more:
                return
            start, self._start = self._start, None
            body, self._waiting = self._waiting, b""
            if len(body) < SMALLEST:
                await self._send(start)
                await self._send({"type": "http.response.body", "body": body})
                return
            self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            _encoded(MutableHeaders(raw=start["headers"]))
            await self._send(start)
        packer = self._packer
        assert packer is not None

        def pack() -> bytes:
            return packer.compress(body) + (b"" if more else packer.flush())

        packed = await anyio.to_thread.run_sync(pack) if len(body) > _LARGE else pack()
        if packed or not more:
            await self._send({"type": "http.response.body", "body": packed, "more_body": more})


def _is_text(content_type: str) -> bool:
    given = parse_media_types(content_type)
    return bool(given) and given[0].content in COMPRESSED


def _encoded(headers: MutableHeaders) -> None:
    headers["Content-Encoding"] = "gzip"
    for name in ("Content-Length", "Accept-Ranges"):
        if name in headers:
            del headers[name]
    tag = headers.get("etag", "")
    if tag and not tag.startswith("W/"):
        # RFC 9110 8.8.3: another encoding is another representation.
        headers["ETag"] = f"W/{tag}"
