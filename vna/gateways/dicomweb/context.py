"""What every request handler of the gateway shares."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request

from vna.bootstrap import Archive
from vna.config import HttpSettings
from vna.gateways.decoding import make_pool
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.metrics import Metrics
from vna.gateways.dicomweb.negotiate import check_charset
from vna.security.views import View

P = ParamSpec("P")
T = TypeVar("T")


class Gateway:
    """The archive, and the threads that work for the event loop, which itself never waits for a disk or a service.

    Parameters
    ----------
    archive
        The parts of the archive.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.settings: HttpSettings = archive.settings.http
        self.metrics = Metrics()
        cores = os.cpu_count() or 1
        self._threads = 16 + 8 * cores
        self.pictures = make_pool(self.settings)
        self.committers = ThreadPoolExecutor(8 + 4 * cores, thread_name_prefix="stow-commit")

    @cached_property
    def limiter(self) -> anyio.CapacityLimiter:
        """How many requests may be in a thread at once; the others wait."""
        return anyio.CapacityLimiter(self._threads)

    @cached_property
    def picture_limiter(self) -> anyio.CapacityLimiter:
        """How many requests may be in a thread for a picture: one is read while another is drawn."""
        return anyio.CapacityLimiter(2 * self.settings.picture_processes)

    async def in_picture_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that waits for pictures in a thread; those that wait their turn keep no thread from others."""
        return await anyio.to_thread.run_sync(lambda: call(*args, **kwargs), limiter=self.picture_limiter)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread."""
        return await anyio.to_thread.run_sync(lambda: call(*args, **kwargs), limiter=self.limiter)

    def view(self, request: Request) -> View:
        """Return the archive as whoever asks sees it: what is read for them is found by its index."""
        return self.archive.views.of(request.state.principal)

    def links(self, request: Request) -> Links:
        """Return the links for the answer to a request."""
        return Links.of(request, self.settings.base_url)

    @staticmethod
    def accept(request: Request) -> tuple[str, ...]:
        """Return what a client accepts; the query parameter stands before the field (PS3.18 8.3.3.1).

        Raises
        ------
        HttpError
            400: the ``charset`` query parameter names no character set that answers are in (8.3.3.2).
        """
        check_charset(request.query_params.get("charset"))
        parameter, field = request.query_params.get("accept"), ", ".join(request.headers.getlist("accept"))
        return (parameter, field) if parameter and field else (parameter or field,)

    def open(self) -> None:
        """Make the parts of the archive. None of them need be reachable yet."""
        for part in ("receiver", "index", "objects"):
            getattr(self.archive, part)

    def close(self) -> None:
        """End the threads and close the archive's parts."""
        self.committers.shutdown(wait=True)
        self.pictures.close()
        self.archive.close()
