"""Marks: what was promised, told by any thread or process to the disk below it, in the order of its events."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST = 1 << 16


class Marks:
    """Makes marks; each is noted when the call returns. For any thread or process."""

    def __init__(self, control: Path) -> None:
        self._one = threading.Lock()
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(str(control))

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give the disk an order and return its answer."""
        with self._one:
            self._connection.send(json.dumps(order).encode())
            answer: dict[str, Any] = json.loads(self._connection.recv(_MOST))
        assert "error" not in answer, answer
        return answer

    def __call__(self, *words: object) -> None:
        """Make a mark."""
        self.ask(do="mark", text=" ".join(map(str, words)))

    def close(self) -> None:
        self._connection.close()


def listen(control: Path, obey: Callable[[dict[str, Any]], dict[str, Any]]) -> socket.socket:
    """Take orders at a socket from now on, each connection in a thread of its own; return what to close."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(control))
    listener.listen(64)

    def serve(connection: socket.socket) -> None:
        with connection:
            while order := connection.recv(_MOST):
                try:
                    answer = obey(json.loads(order))
                except OSError as error:
                    answer = {"error": str(error)}
                connection.send(json.dumps(answer).encode())

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener
