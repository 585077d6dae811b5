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
from vna.gateways.dicomweb.links import Links
from vna.gateways.dicomweb.metrics import Metrics

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
        self.committers = ThreadPoolExecutor(8 + 4 * cores, thread_name_prefix="stow-commit")

    @cached_property
    def limiter(self) -> anyio.CapacityLimiter:
        """How many requests may be in a thread at once; the others wait."""
        return anyio.CapacityLimiter(self._threads)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread."""
        return await anyio.to_thread.run_sync(lambda: call(*args, **kwargs), limiter=self.limiter)

    def links(self, request: Request) -> Links:
        """Return the links for the answer to a request."""
        return Links.of(request, self.settings.base_url)

    @staticmethod
    def accept(request: Request) -> str:
        """Return what a client accepts; the query parameter stands before the field (PS3.18 8.3.3.1)."""
        return request.query_params.get("accept") or ", ".join(request.headers.getlist("accept"))

    def open(self) -> None:
        """Make the parts of the archive. None of them need be reachable yet."""
        for part in ("receiver", "index", "objects"):
            getattr(self.archive, part)

    def close(self) -> None:
        """End the threads and close the archive's parts."""
        self.committers.shutdown(wait=True)
        self.archive.close()
