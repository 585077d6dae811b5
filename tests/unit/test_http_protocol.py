"""What a connection may take before there is a request: time, and bytes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from vna.gateways.dicomweb import protocol

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, bytes]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request: at once what is for ``/``, and when it is whole what is for ``/whole``."""
    request = Request(scope, receive)
    answer: Response = PlainTextResponse(str(len(await request.body()) if request.url.path == "/whole" else "now"))
    await answer(scope, receive, send)


def run(talk: Talk) -> bytes:
    """Return what a client that talks to the protocol was answered."""

    async def both() -> bytes:
        loop = asyncio.get_running_loop()
        config = uvicorn.Config(app, ws="websockets-sansio", lifespan="off", log_config=None)
        state = ServerState()
        config.load()
        server = await loop.create_server(lambda: protocol.GuardedProtocol(config, state, {}), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                return await asyncio.wait_for(talk(reader, writer), 10)
            finally:
                writer.close()

    return asyncio.run(both())


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: bytes, piece: bytes) -> bytes:
    writer.write(begin)
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * 65536),
        (_GET + b"X: ", b"a" * 65536),
        (_GET, b"X: y\r\n" * 10_000),
        (_POST.replace(b"/", b"/whole", 1) + b"1\r\na\r\n0\r\n", b"X: y\r\n" * 10_000),
    ],
    ids=["path", "field", "fields", "trailers"],
)
def test_a_head_without_end_is_refused(begin: bytes, piece: bytes) -> None:
    written = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        nonlocal written
        answer = await flood(reader, writer, begin, piece)
        written = 1 if writer.is_closing() or reader.at_eof() or answer else 0
        return answer

    answer = run(talk)
    # Whoever is still sending when the connection is closed may not get to read why.
    assert answer.startswith(b"HTTP/1.1 431") or (not answer and written)


def test_a_large_body_and_many_requests_are_no_head() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        body = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        writer.write(_POST.replace(b"/", b"/whole", 1) + 3 * body + b"0\r\n\r\n")
        writer.write((_GET + b"\r\n") * 5000)
        writer.write(_GET + b"Connection: close\r\n\r\n")
        return await reader.read()

    answer = run(talk)
    assert str(3 << 20).encode() in answer
    assert answer.count(b"HTTP/1.1 200") == 5002


@pytest.mark.parametrize(
    "sent", [b"", b"GET /", _GET + b"X", _GET + b"\r\n" + _GET, _POST + b"1\r\na\r\n"],
    ids=["nothing", "line", "fields", "second", "body that nobody reads"],
)  # fmt: skip
def test_who_does_not_come_to_the_point_is_left(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                writer.write(sent)
                while sent:
                    await asyncio.sleep(0.1)
                    writer.write(b"1\r\na\r\n" if sent.startswith(_POST) else b"a")

        dripping = asyncio.create_task(drip())
        begin = time.monotonic()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        dripping.cancel()
        return f"{time.monotonic() - begin:.2f}".encode()

    assert 0.2 < float(run(talk)) < 3


@pytest.mark.parametrize("more", [b"X: " + b"a" * 20_000 + b"\r\n", b"X: y\r\n" * 500], ids=["field", "fields"])
def test_a_handshake_of_a_websocket_that_is_too_long_is_refused(more: bytes) -> None:
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    fields += b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(_GET + fields + more + b"\r\n")
        return await reader.read()

    assert run(talk).startswith(b"HTTP/1.1 431")


def test_a_slow_answer_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(_POST.replace(b"/", b"/whole", 1))
        for _ in range(8):
            await asyncio.sleep(0.1)
            writer.write(b"1\r\na\r\n")
        writer.write(b"0\r\n\r\n")
        return await reader.readuntil(b"8")

    assert b"HTTP/1.1 200" in run(talk)
