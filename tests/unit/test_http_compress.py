"""Which answers are compressed, and that they come through whole and while they are made."""

from __future__ import annotations

import asyncio
import gzip
import random
from typing import Any

import pytest

from vna.gateways.dicomweb.compress import Compression, accepts_gzip

JSON = "application/dicom+json"


@pytest.mark.parametrize(
    "field",
    ["gzip", "GZIP;q=0.5", "deflate, gzip", "*", "br;q=1, gzip;q=0.8, *;q=0", "x-gzip", "gzip;q=0.5, identity;q=0.5"],
)
def test_gzip_is_taken(field: str) -> None:
    assert accepts_gzip(field)


@pytest.mark.parametrize(
    "field", ["", "identity", "br", "gzip;q=0", "*;q=0", "gzip;q=x", "gzip;q=0.1, identity", "notgzip"]
)
def test_gzip_is_not_taken(field: str) -> None:
    assert not accepts_gzip(field)


def run(
    pieces: list[bytes], content_type: str, *, accept: str = "gzip", status: int = 200, method: str = "GET", **more: str
) -> tuple[dict[str, str], list[bytes]]:
    """Return the header fields and the pieces of an answer that went through."""
    headers = {"content-type": content_type, "etag": '"1"'} | {
        name.replace("_", "-"): value for name, value in more.items()
    }
    sent: list[dict[str, Any]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        for place, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces)})

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "headers": [(b"accept-encoding", accept.encode())]}
    asyncio.run(Compression(app)(scope, receive, send))
    start, *bodies = sent
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
    return {name.decode(): value.decode() for name, value in start["headers"]}, [body["body"] for body in bodies]


@pytest.mark.parametrize("content_type", [JSON, "application/json", 'multipart/related; type="application/dicom+xml"'])
def test_text_is_compressed(content_type: str) -> None:
    body = b'{"00100010": 1}' * 10_000
    headers, pieces = run([body], content_type, content_length=str(len(body)))
    assert headers["content-encoding"] == "gzip"
    assert "content-length" not in headers
    assert headers["vary"] == "Accept-Encoding"
    assert headers["etag"] == 'W/"1"'
    assert gzip.decompress(b"".join(pieces)) == body
    assert len(b"".join(pieces)) < len(body) / 10


def test_a_stream_goes_out_before_it_ends() -> None:
    source = [random.Random(number).randbytes(100_000) for number in range(8)]
    headers, pieces = run(source, JSON)
    assert headers["content-encoding"] == "gzip"
    assert len(pieces) > 5
    assert gzip.decompress(b"".join(pieces)) == b"".join(source)


def test_small_pieces_are_joined_before_it_is_decided() -> None:
    headers, pieces = run([b"x" * 500, b"y" * 523], JSON)
    assert ("content-encoding" in headers, b"".join(pieces)) == (False, b"x" * 500 + b"y" * 523)
    headers, pieces = run([b"x" * 500, b"y" * 524], JSON)
    assert headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("content_type", "more"),
    [
        ("application/dicom", {}),
        ('multipart/related; type="application/dicom"', {}),
        ('multipart/related; type="application/octet-stream"', {}),
        ("application/octet-stream", {}),
        ("application/zip", {}),
        ("image/jpeg", {}),
        ("text/html", {}),
        (JSON, {"accept": "identity"}),
        (JSON, {"status": 206}),
        (JSON, {"method": "HEAD"}),
        (JSON, {"content_encoding": "br"}),
    ],
)
def test_the_rest_passes_as_it_is(content_type: str, more: dict[str, Any]) -> None:
    source = [b"a" * 3000, b"b" * 3000]
    headers, pieces = run(source, content_type, **more)
    assert headers.get("content-encoding", "br") == "br"
    assert headers["etag"] == '"1"'
    assert pieces == source
