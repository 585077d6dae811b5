"""An audit repository that takes syslog over TLS, and reads its frames as RFC 5425 says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path


class SyslogServer:
    """Listens on a free port of the loopback address.

    ``messages`` holds what was read whole. With ``deaf`` it reads a few bytes of
    each connection and resets it.
    """

    def __init__(self, key: Path, chain: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._context = context
        self.messages: list[bytes] = []
        self.connections = 0
        self.deaf = False
        self.broken: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as secured:
                if self.deaf:
                    secured.recv(10)
                    # Unread bytes and no time to send them: the peer sees a reset.
                    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    continue
                self._read(secured)

    def _read(self, secured: ssl.SSLSocket) -> None:
        data = b""
        while piece := secured.recv(1000):  # smaller than a message, so that frames are cut anywhere
            data += piece
        while data:
            length, space, rest = data.partition(b" ")
            if not (space and length.isdigit() and not length.startswith(b"0")) or len(rest) < int(length):
                self.broken.append(f"no frame: {data[:60]!r}")
                return
            self.messages.append(rest[: int(length)])
            data = rest[int(length) :]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
