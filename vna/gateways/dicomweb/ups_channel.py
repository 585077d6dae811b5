"""UPS-RS: the notification channel (PS3.18 8.10.4, 11.13), a WebSocket by which a subscriber is told of events.

Whoever changes a work item notes in its document who is told what; each process
with open channels follows the changes of all processes and tells its own.
What happens while a subscriber has no channel it is not told (PS3.18 8.10.5):
it searches or retrieves when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from itertools import islice
from typing import Any
from weakref import WeakSet

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from vna.domain.errors import ArchiveError, InvalidInputError
from vna.domain.origin import iso_utc, now_us
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.credentials import Credentials, WrongCredentialsError
from vna.gateways.dicomweb.errors import HttpError, error_response
from vna.gateways.dicomweb.ups_outbox import Outbox, status_change
from vna.gateways.dicomweb.ups_subscribe import ae_title_of
from vna.security.principals import Permission
from vna.workitems.memory import Changes
from vna.workitems.record import Event, WorkItem
from vna.workitems.subscribers import Subscriber
from vna.workitems.tags import GLOBAL

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_RETRY_SECONDS = 2.0
# So often the credentials of an open channel are looked at again.
_CHECK_SECONDS = 30.0
_MOST_CHANNELS = 1000
_AT_ONCE = 500
GOING_AWAY, POLICY, TRY_AGAIN = 1001, 1008, 1013
"""Close codes (RFC 6455 7.4.1)."""

_hubs: WeakSet[Hub] = WeakSet()


async def upgrade_required(_gateway: Gateway, _request: Request) -> Response:
    """Answer ``GET /subscribers/{aetitle}`` without a WebSocket handshake (RFC 9110 15.5.22)."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    raise HttpError(426, "upgrade-required", "a notification channel is a WebSocket (RFC 6455)", headers)


async def going_down() -> None:
    """Tell all channels of this process that it ends, and close them."""
    for hub in list(_hubs):
        await hub.close()


class Hub:
    """The open channels of a process.

    Parameters
    ----------
    gateway
        The archive.
    credentials
        Finds out again whose the credentials of a channel are.
    """

    def __init__(self, gateway: Gateway, credentials: Credentials) -> None:
        self._gateway = gateway
        self._credentials = credentials
        self._open: dict[str, set[Outbox]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._follower: asyncio.Task[None] | None = None
        self._started = iso_utc(now_us())
        self._greeted: set[str] = set()
        self._ending = False
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limiter: anyio.CapacityLimiter | None = None
        self._changes: Changes | None = None
        _hubs.add(self)

    async def endpoint(self, socket: WebSocket) -> None:
        """Serve a channel until either side ends it."""
        refusal = self._refusal(socket)
        if refusal is None:
            try:
                ae_title = ae_title_of(socket.path_params["aetitle"])
                known = await self._prepare(ae_title)
            except InvalidInputError as error:
                refusal = error_response(400, "invalid-input", str(error))
            except ArchiveError as error:
                log.error("worklist: no channel can be opened: %s", error)  # noqa: TRY400 - the service is away, no fault here
                refusal = error_response(503, "unavailable", str(error), {"Retry-After": "10"})
        if refusal is not None:
            await socket.send_denial_response(refusal)
            return
        await socket.accept()
        outbox = Outbox(socket, self._gateway.metrics)
        self._open.setdefault(ae_title, set()).add(outbox)
        self._gateway.metrics.channel_opened()
        if known:
            # PS3.4 CC.2.4.3: subscriptions and work items are as they were before the restart.
            outbox.put(GLOBAL, status_change("RESTARTED"))
        self._follow()
        try:
            await self._serve(socket, outbox)
        finally:
            outbox.end(0, "client")  # unless it was ended for another reason
            self._open[ae_title].discard(outbox)
            if not self._open[ae_title]:
                del self._open[ae_title]
            self._gateway.metrics.channel_closed(outbox.ended)

    def _refusal(self, socket: WebSocket) -> Response | None:
        if self._ending or sum(map(len, self._open.values())) >= _MOST_CHANNELS:
            return error_response(503, "unavailable", "no more channels can be opened now", {"Retry-After": "10"})
        if socket.url.query:
            return error_response(400, "invalid-query", "a channel has no parameters")
        return None

    async def _prepare(self, ae_title: str) -> bool:
        """Begin to follow, if nobody has; say whether a subscriber is to be told that this process is a new one."""
        self._loop = asyncio.get_running_loop()
        if self._limiter is None:
            # Threads of its own: uploads that fill the others must not hold up what is told.
            self._limiter = anyio.CapacityLimiter(4)
        if self._changes is None:
            self._changes = self._gateway.archive.worklist.changes(self._noticed, self._written)
        # So that what was before is told to nobody who comes after.
        await self._in_thread(self._changes.sync)
        if ae_title in self._greeted:
            return False
        worklist = self._gateway.archive.worklist
        known: bool = await self._in_thread(worklist.subscribed_before, ae_title, self._started)
        greeted = ae_title in self._greeted
        self._greeted.add(ae_title)
        return known and not greeted

    async def _serve(self, socket: WebSocket, outbox: Outbox) -> None:
        sender = asyncio.create_task(outbox.send())
        listener = asyncio.create_task(_until_closed(socket))
        checker = asyncio.create_task(self._watch(socket, outbox))
        tasks = {sender, listener, checker}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not listener.done() or listener.cancelled():
            await outbox.close()

    async def _watch(self, socket: WebSocket, outbox: Outbox) -> None:
        """End a channel whose credentials have ended, or lost the permission."""
        before = socket.state.principal
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                now = await self._credentials.of(socket)
            except WrongCredentialsError:
                now = None
            except ArchiveError:
                continue
            if now is None and before.means == "network":
                continue
            if now is None or not now.may(Permission.WORKLIST):
                outbox.end(POLICY, "credentials")
                return

    def _follow(self) -> None:
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        assert self._changes is not None
        while self._open:
            try:
                await self._in_thread(self._changes.sync)
            except ArchiveError as error:
                log.error("worklist: changes cannot be followed: %s", error)  # noqa: TRY400 - as above
                await asyncio.sleep(_RETRY_SECONDS)
            # What this process wrote is told at once, what others did by the clock.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _POLL_SECONDS)
            self._wake.clear()
        self._follower = None

    async def _in_thread(self, call: Any, *args: Any) -> Any:
        return await anyio.to_thread.run_sync(call, *args, limiter=self._limiter)

    def _noticed(self, change: WorkItem | Subscriber) -> None:
        """Take a change in the thread that follows."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._tell, change)

    def _written(self) -> None:
        """Follow at once, as this process has made a change."""
        if self._loop is not None and self._open:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _tell(self, change: WorkItem | Subscriber) -> None:
        if isinstance(change, WorkItem):
            for event in change.events:
                self._put(change.uid, event)
        elif change.ae_title in self._open:
            task = asyncio.create_task(self._tell_all(change))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell_all(self, subscriber: Subscriber) -> None:
        """Tell a subscriber the state of all work items, no faster than it takes them."""
        ae_title = subscriber.ae_title
        reports = self._gateway.archive.worklist.initial_reports(subscriber)
        try:
            while found := await self._in_thread(lambda: list(islice(reports, _AT_ONCE))):
                for uid, event in found:
                    self._put(uid, event)
                for outbox in list(self._open.get(ae_title, ())):
                    await outbox.room()
                if ae_title not in self._open:
                    return
        except ArchiveError as error:
            log.error("worklist: %s is not told the states: %s", ae_title, error)  # noqa: TRY400 - as above

    def _put(self, uid: str, event: Event) -> None:
        for ae_title in event.to:
            for outbox in self._open.get(ae_title, ()):
                outbox.put(uid, event)

    async def close(self) -> None:
        """Tell every channel that this process ends, and close it."""
        self._ending = True
        for task in self._tasks:
            task.cancel()
        for outbox in [each for channels in self._open.values() for each in channels]:
            outbox.put(GLOBAL, status_change("GOING DOWN"))
            outbox.end(GOING_AWAY, "shutdown")
        for _ in range(40):
            if not self._open:
                break
            await asyncio.sleep(0.05)
        if self._follower is not None:
            self._follower.cancel()


async def _until_closed(socket: WebSocket) -> None:
    """Return when the client has closed; what it says is of no meaning here, and is dropped."""
    try:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass
    except WebSocketDisconnect:
        pass
