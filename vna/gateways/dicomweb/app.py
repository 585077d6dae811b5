"""The HTTP application: which handler answers which resource (PS3.18 10.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vna.bootstrap import Archive
from vna.gateways.dicomweb import frames, health, metadata, qido, stow, wado
from vna.gateways.dicomweb.access import AccessControl
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.errors import EXCEPTION_HANDLERS
from vna.gateways.dicomweb.links import BASE
from vna.web import routes as pages

Handler = Callable[[Gateway, Request], Awaitable[Response]]

_STUDIES = f"{BASE}/studies"
_STUDY = _STUDIES + "/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"

ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/", "root", health.root),
    ("GET", "/health", "health", health.health),
    ("GET", "/ready", "ready", health.ready),
    ("GET", "/metrics", "metrics", health.metrics),
    ("POST", _STUDIES, "store", stow.store),
    ("POST", _STUDY, "store", stow.store),
    ("GET", _STUDIES, "search-studies", qido.search_studies),
    ("GET", f"{BASE}/series", "search-series", qido.search_series),
    ("GET", f"{_STUDY}/series", "search-series", qido.search_series),
    ("GET", f"{BASE}/instances", "search-instances", qido.search_instances),
    ("GET", f"{_STUDY}/instances", "search-instances", qido.search_instances),
    ("GET", f"{_SERIES}/instances", "search-instances", qido.search_instances),
    ("GET", _STUDY, "retrieve-study", wado.retrieve),
    ("GET", _SERIES, "retrieve-series", wado.retrieve),
    ("GET", _INSTANCE, "retrieve-instance", wado.retrieve),
    ("GET", f"{_STUDY}/metadata", "retrieve-metadata", metadata.retrieve_metadata),
    ("GET", f"{_SERIES}/metadata", "retrieve-metadata", metadata.retrieve_metadata),
    ("GET", f"{_INSTANCE}/metadata", "retrieve-metadata", metadata.retrieve_metadata),
    ("GET", _INSTANCE + "/frames/{frames}", "retrieve-frames", frames.retrieve_frames),
    ("GET", _INSTANCE + "/bulkdata/{path}", "retrieve-bulkdata", frames.retrieve_bulk),
)
"""Method, path, name (in the metrics) and handler of every resource."""


def build(archive: Archive) -> ASGIApp:
    """Return the application on an archive; it closes the archive when it ends."""
    gateway = Gateway(archive)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # The parts connect now rather than in the first request, which would wait for it.
        await gateway.in_thread(gateway.open)
        yield
        await gateway.in_thread(gateway.close)

    app = Starlette(
        routes=[*(_route(gateway, *each) for each in ROUTES), *pages.routes(archive, gateway.in_thread)],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        middleware=[Middleware(AccessControl, settings=gateway.settings)],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return gateway.metrics.count(app)


def _route(gateway: Gateway, method: str, path: str, name: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        return await handler(gateway, request)

    return Route(path, endpoint, methods=[method], name=name)
