"""What waits to be sent on one notification channel: events as DICOM JSON (PS3.18 11.13), so many and no more."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from vna.gateways.dicomweb.metrics import Metrics
from vna.workitems.record import Event
from vna.workitems.tags import UPS_PUSH, element

MOST_WAITING = 50_000
"""Events that wait for a slow client before its channel is ended."""
MOST_BYTES = 32 << 20
_BUSY = 1000
_SEND_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
_TRY_AGAIN = 1013


def status_change(status: str) -> Event:
    """Return the event that tells of the archive itself (PS3.4 Table CC.2.4-1): both lists are kept over a restart."""
    info = {"00741242": element("CS", status)}
    if status == "RESTARTED":
        info |= {"00741244": element("CS", "WARM START"), "00741246": element("CS", "WARM START")}
    return Event(4, (), info)


class Outbox:
    """The events of one channel, sent one after the other as fast as the client takes them.

    Parameters
    ----------
    socket
        The channel.
    metrics
        Counts what is sent.
    """

    def __init__(self, socket: WebSocket, metrics: Metrics) -> None:
        self._socket = socket
        self._metrics = metrics
        self._waiting: deque[tuple[int, str]] = deque()
        self._bytes = 0
        self._number = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._code = 0
        self.ended = ""

    async def room(self) -> None:
        """Return when so little waits that what is not urgent may be added."""
        await self._room.wait()

    def put(self, uid: str, event: Event) -> None:
        """Add an event; a channel with too many is ended."""
        if self.ended:
            return
        self._number = self._number % 0xFFFF + 1
        text = orjson.dumps(
            {
                "00000002": element("UI", UPS_PUSH),
                "00000110": element("US", self._number),
                "00001000": element("UI", uid),
                "00001002": element("US", event.type),
                **event.info,
            }
        ).decode()
        self._waiting.append((event.type, text))
        self._bytes += len(text)
        if len(self._waiting) > _BUSY:
            self._room.clear()
        if len(self._waiting) > MOST_WAITING or self._bytes > MOST_BYTES:
            self._waiting.clear()
            self.end(_TRY_AGAIN, "slow")
        self._more.set()

    def end(self, code: int, why: str) -> None:
        """End the channel when what waits is sent."""
        self._code, self.ended = code, self.ended or why
        self._more.set()
        self._room.set()

    async def send(self) -> None:
        """Send what waits and what comes, until the channel is ended or the client takes nothing more."""
        while True:
            while self._waiting:
                kind, text = self._waiting.popleft()
                self._bytes -= len(text)
                if len(self._waiting) <= _BUSY:
                    self._room.set()
                try:
                    await asyncio.wait_for(self._socket.send_text(text), _SEND_SECONDS)
                except TimeoutError:
                    self.end(_TRY_AGAIN, "slow")
                    self._waiting.clear()
                    return
                except (WebSocketDisconnect, RuntimeError):
                    return
                self._metrics.event_sent(kind)
            if self.ended:
                return
            self._more.clear()
            await self._more.wait()

    async def close(self) -> None:
        """Close the channel, as it was ended."""
        if self._socket.application_state is not WebSocketState.CONNECTED:
            return
        with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
            await asyncio.wait_for(self._socket.close(self._code or 1000, self.ended), _CLOSE_SECONDS)
