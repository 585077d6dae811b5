"""Being told to stop by a signal, safely.

A signal's handler runs in the main thread between any two of its steps. A
``threading.Event`` is not made for that: setting one takes its lock, and a
handler that comes while the main thread holds it, in ``wait`` or in the handler
of a signal before, waits for ever. A byte in a pipe has no such lock.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress


class Stop:
    """Something to wait for, that a signal handler may set."""

    def __init__(self) -> None:
        self.requested = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def on_signals(self, *numbers: signal.Signals) -> Stop:
        """Be set by these signals, SIGTERM and SIGINT if none is named; return itself."""
        for number in numbers or (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self.request())
        return self

    def request(self) -> None:
        """Set it; from any thread or signal handler, any number of times."""
        self.requested = True
        with suppress(BlockingIOError):  # a full pipe wakes whoever waits as well
            os.write(self._write, b"\0")

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, at most so long; say whether it is."""
        if not self.requested:
            select.select([self._read], [], [], seconds)
        return self.requested
