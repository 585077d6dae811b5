"""Answers whose bytes are read in a thread while they are sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import HttpError

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class ThreadedResponse(StreamingResponse):
    """Sends what an iterator yields; the iterator runs in a thread and is closed whatever happens.

    One piece is in memory at a time: the next is read when the client has taken the last.
    """

    def __init__(
        self, gateway: Gateway, pieces: Iterator[bytes], first: bytes, status: int, headers: Mapping[str, str]
    ) -> None:
        self._gateway = gateway
        self._pieces = pieces
        super().__init__(self._run(first), status, headers)

    async def _run(self, first: bytes) -> AsyncIterator[bytes]:
        piece: bytes | None = first
        while piece:
            yield piece
            piece = await self._gateway.in_thread(next, self._pieces, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            if scope["method"] == "HEAD":
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
            else:
                await super().__call__(scope, receive, send)
        finally:
            close = getattr(self._pieces, "close", None)
            if close is not None:
                with anyio.CancelScope(shield=True):
                    await self._gateway.in_thread(close)


async def stream(
    gateway: Gateway, pieces: Iterator[bytes], headers: Mapping[str, str], status: int = 200
) -> ThreadedResponse:
    """Return an answer of pieces. The first is read before it starts, so that an error still has a status."""
    first = await gateway.in_thread(next, pieces, b"")
    return ThreadedResponse(gateway, pieces, first, status, headers)


def byte_range(field: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range field (RFC 9110 14.2).

    Parameters
    ----------
    field
        Its value, ``None`` if there is none.
    size
        Length of what is asked for.

    Returns
    -------
    tuple of int, optional
        Start and length; ``None`` if all is to be sent: there is no field, or it
        asks for several ranges or another unit, which a server may pass over.

    Raises
    ------
    HttpError
        416, if nothing lies in the range.
    """
    found = _RANGE.fullmatch(field.strip().replace(" ", "")) if field else None
    if not found or not (found[1] or found[2]):
        return None
    if found[1]:
        start = int(found[1])
        end = min(int(found[2]), size - 1) if found[2] else size - 1
        if found[2] and int(found[2]) < start:
            return None
    else:
        start = max(0, size - int(found[2]))
        end = size - 1
    if start > end:
        detail = f"range {field} is outside of the {size} bytes there are"
        raise HttpError(416, "range-not-satisfiable", detail, {"Content-Range": f"bytes */{size}"})
    return start, end - start + 1


def range_headers(start: int, length: int, size: int) -> dict[str, str]:
    """Return the header fields of a partial answer (206)."""
    return {"Content-Range": f"bytes {start}-{start + length - 1}/{size}", "Content-Length": str(length)}
