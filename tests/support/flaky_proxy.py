"""A proxy before a real service that makes its network bad on demand."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_CHUNK = 64 << 10
_HEADER_LIMIT = 64 << 10
_BODY_SECONDS = 5.0


@dataclass(frozen=True)
class _Fault:
    """What is wrong with the connections now."""

    delay: float = 0.0
    refuse: bool = False
    status: int = 0
    body: bytes = b""
    cut_after: int | None = None


class FlakyProxy:
    """Passes TCP connections on to a service, or spoils them as told. A context manager.

    Each call of :meth:`delay`, :meth:`refuse`, :meth:`error` and
    :meth:`cut_after` replaces the fault before it and cuts the connections there
    are, so that it holds from the next request on; :meth:`heal` ends it.

    Parameters
    ----------
    target_host, target_port
        The service.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._fault = _Fault()
        # How many more connections (of `error`: requests) the fault spoils; None: all.
        self._times: int | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="flaky-proxy").start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def delay(self, seconds: float) -> None:
        """Hold every answer back for some time."""
        self._set(_Fault(delay=seconds), None)

    def refuse(self) -> None:
        """Cut every connection at once."""
        self._set(_Fault(refuse=True), None)

    def error(self, status: int, body: bytes = b"", times: int | None = None) -> None:
        """Answer HTTP requests with a status, the first ``times`` of them or all."""
        self._set(_Fault(status=status, body=body), times)

    def cut_after(self, count: int, times: int | None = None) -> None:
        """Cut a connection when it has brought so many bytes back, the first ``times`` of them or all."""
        self._set(_Fault(cut_after=count), times)

    def heal(self) -> None:
        """Pass everything on."""
        self._set(_Fault(), None)

    def _set(self, fault: _Fault, times: int | None) -> None:
        with self._lock:
            self._fault, self._times = fault, times
            spoiled = list(self._open)
        for connection in spoiled:
            _reset(connection)

    def _take_fault(self) -> _Fault:
        with self._lock:
            if self._times is None:
                return self._fault
            if self._times == 0:
                return _Fault()
            self._times -= 1
            return self._fault

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        fault = self._take_fault()
        with self._lock:
            self._open.add(client)
        try:
            if fault.refuse:
                _reset(client)
            elif fault.status:
                _answer(client, fault.status, fault.body)
            else:
                self._pass(client, fault)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()

    def _pass(self, client: socket.socket, fault: _Fault) -> None:
        with socket.create_connection(self._target) as target:
            there = threading.Thread(target=_pump, args=(client, target), daemon=True)
            there.start()
            left = fault.cut_after
            while data := target.recv(_CHUNK if left is None else min(_CHUNK, left)):
                if fault.delay:
                    time.sleep(fault.delay)
                client.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left == 0:
                        # What was sent shall arrive before the connection breaks.
                        time.sleep(0.02)
                        _reset(client)
                        break
            _shut(client)
            _shut(target)
            there.join(_BODY_SECONDS)

    def close(self) -> None:
        """Stop listening and cut what is open."""
        # A blocked accept is woken by shutdown, not by close.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._set(_Fault(refuse=True), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    _shut(target)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """End a connection, with RST as soon as nobody reads from it any more."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    _shut(connection)


def _answer(client: socket.socket, status: int, body: bytes) -> None:
    """Read one HTTP request, and answer with a status."""
    client.settimeout(_BODY_SECONDS)
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _HEADER_LIMIT:
        more = client.recv(_CHUNK)
        if not more:
            return
        data += more
    header, _, rest = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in header.split(b"\r\n")[1:])
    if b"expect" not in fields:
        left = int(fields.get(b"content-length", b"0")) - len(rest)
        while left > 0 and (more := client.recv(_CHUNK)):
            left -= len(more)
    head = b"HTTP/1.1 %d Fault\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    client.sendall(head if header.startswith(b"HEAD ") else head + body)
    _shut(client)
