"""An HTTP/1.1 proxy in front of a real server that delays, refuses, cuts, answers errors and rewrites answers.

It passes requests on as they came (signatures stay valid) and reads each
message whole, so it is for tests of faults and not of large bodies.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_REASONS = {429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
_BLOCK = 65536


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer: its first line, its headers as they came, its body without chunking."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


Rewrite = Callable[[Message, Message], Message]


@dataclass(slots=True)
class _Fault:
    """What goes wrong, with which requests, and how often yet."""

    kind: str
    where: re.Pattern[str]
    times: int | None
    seconds: float = 0
    status: int = 0
    body: bytes = b""
    count: int = 0
    rewrite: Rewrite | None = None


@dataclass(slots=True)
class HttpProxy:
    """Listens on a free port of the loopback address and forwards to a server.

    Every fault takes ``where``, a regular expression that ``METHOD path`` must
    contain, and ``times``, after which it heals by itself. ``requests`` lists
    what arrived.
    """

    target_host: str
    target_port: int
    port: int = 0
    requests: list[str] = field(default_factory=list)
    _faults: list[_Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: socket.socket | None = None
    _open: set[socket.socket] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ---- faults

    def delay(self, seconds: float, *, where: str = "", times: int | None = None) -> None:
        """Pass requests on only after a while."""
        self._add(_Fault("delay", re.compile(where), times, seconds=seconds))

    def error(self, status: int, *, where: str = "", times: int | None = None, body: bytes = b"") -> None:
        """Answer with a status; the server never sees the request."""
        self._add(_Fault("error", re.compile(where), times, status=status, body=body))

    def cut_request(self, *, where: str = "", times: int | None = None) -> None:
        """Close the connection instead of passing a request on."""
        self._add(_Fault("cut request", re.compile(where), times))

    def cut_after(self, count: int, *, where: str = "", times: int | None = None) -> None:
        """Pass requests on, but close the connection after some bytes of the answer: the deed is done, unseen."""
        self._add(_Fault("cut answer", re.compile(where), times, count=count))

    def rewrite(self, hook: Rewrite, *, where: str = "", times: int | None = None) -> None:
        """Let a function change answers."""
        self._add(_Fault("rewrite", re.compile(where), times, rewrite=hook))

    def refuse(self) -> None:
        """Refuse connections and close those that are open, as a host does whose process died."""
        with self._lock:
            listener, self._listener = self._listener, None
            connections, self._open = self._open, set()
        for one in [*([listener] if listener else []), *connections]:
            _close(one)

    def heal(self) -> None:
        """End every fault."""
        with self._lock:
            self._faults.clear()
            refusing = self._listener is None
        if refusing:
            self._listen()

    # ---- traffic

    def _add(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _take(self, request: Message) -> list[_Fault]:
        name = f"{request.method} {request.path}"
        with self._lock:
            self.requests.append(name)
            found = [fault for fault in self._faults if fault.where.search(name) and fault.times != 0]
            for fault in found:
                if fault.times is not None:
                    fault.times -= 1
        return found

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            with self._lock:
                if self._listener is None:
                    return
                self._open.add(client)
            server = socket.create_connection((self.target_host, self.target_port), 30)
            server.settimeout(None)
            with self._lock:
                self._open.add(server)
            from_client, from_server = _Reader(client), _Reader(server)
            while (request := from_client.message(client)) and self._pass(request, client, server, from_server):
                pass
        except OSError:
            pass  # one end is gone; the other is told by closing
        finally:
            for one in [client, *([server] if server else [])]:
                with self._lock:
                    self._open.discard(one)
                _close(one)

    def _pass(self, request: Message, client: socket.socket, server: socket.socket, reader: _Reader) -> bool:
        faults = self._take(request)
        for fault in faults:
            if fault.kind == "delay":
                time.sleep(fault.seconds)
            elif fault.kind == "error":
                client.sendall(_encode(_error(fault), head_only=request.method == "HEAD"))
                return True
            elif fault.kind == "cut request":
                return False
        server.sendall(_encode(request))
        answer = reader.message(None, to=request.method)
        if answer is None:
            return False
        for fault in faults:
            if fault.rewrite is not None:
                answer = fault.rewrite(request, answer)
        encoded = _encode(answer, head_only=request.method == "HEAD")
        for fault in faults:
            if fault.kind == "cut answer":
                client.sendall(encoded[: fault.count])
                return False
        client.sendall(encoded)
        return answer.header("connection").lower() != "close"


class _Reader:
    """Reads whole messages from a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def message(self, client: socket.socket | None, to: str = "") -> Message | None:
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (one.partition(":") for one in rest)]
        found = Message(line, headers, b"")
        if client is not None and found.header("expect").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if client is None and line.split(" ")[1] == "100":
            return self.message(None, to)
        return Message(line, headers, self._body(found, to))

    def _body(self, head: Message, to: str) -> bytes:
        if to == "HEAD" or (to and head.line.split(" ")[1] in ("204", "304")):
            return b""
        if "chunked" in head.header("transfer-encoding").lower():
            return self._chunks()
        return self._exactly(int(head.header("content-length") or 0))

    def _chunks(self) -> bytes:
        body = b""
        while size := int((self._until(b"\r\n") or b"0").split(b";")[0], 16):
            body += self._exactly(size)
            self._exactly(2)
        while self._until(b"\r\n"):
            pass  # trailers
        return body

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._buffer:
            if not self._fill():
                return None
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._fill():
                raise ConnectionResetError
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def _fill(self) -> bool:
        block = self._connection.recv(_BLOCK)
        self._buffer += block
        return bool(block)


def _encode(message: Message, *, head_only: bool = False) -> bytes:
    headers = [(name, value) for name, value in message.headers if name.lower() not in ("transfer-encoding", "expect")]
    if not head_only:
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        headers.append(("Content-Length", str(len(message.body))))
    head = "\r\n".join([message.line, *(f"{name}: {value}" for name, value in headers)])
    return head.encode("latin-1") + b"\r\n\r\n" + message.body


def _error(fault: _Fault) -> Message:
    return Message(f"HTTP/1.1 {fault.status} {_REASONS.get(fault.status, 'Error')}", [], fault.body)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected any more
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
