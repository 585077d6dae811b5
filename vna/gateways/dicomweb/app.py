"""The HTTP application: which handler answers which resource (PS3.18 10.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from vna.bootstrap import Archive
from vna.gateways.dicomweb import (
    bulkdata,
    deletion,
    frames,
    health,
    metadata,
    qido,
    rendered,
    stow,
    ups,
    ups_channel,
    ups_search,
    ups_subscribe,
    wado,
    wado_uri,
)
from vna.gateways.dicomweb.access import AccessControl
from vna.gateways.dicomweb.ahead import ahead
from vna.gateways.dicomweb.audited import Audited
from vna.gateways.dicomweb.capabilities import capabilities, paths
from vna.gateways.dicomweb.compress import Compression
from vna.gateways.dicomweb.conditional import conditional
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.cors import Cors
from vna.gateways.dicomweb.credentials import Credentials
from vna.gateways.dicomweb.errors import EXCEPTION_HANDLERS
from vna.gateways.dicomweb.links import BASE
from vna.security.audit_events import application_activity
from vna.security.throttle import Throttle
from vna.web import ohif, shares, sign_in, sign_in_oidc, viewer
from vna.web import routes as pages
from vna.web.pages_http import Site

Handler = Callable[[Gateway, Request], Awaitable[Response]]

_STUDIES = f"{BASE}/studies"
_STUDY = _STUDIES + "/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_WORKITEMS = f"{BASE}/workitems"
_WORKITEM = _WORKITEMS + "/{workitem}"
_SUBSCRIBER = _WORKITEM + "/subscribers/{aetitle}"
_CHANNEL = BASE + "/subscribers/{aetitle}"

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
    ("DELETE", _STUDY, "request-deletion", deletion.request_deletion),
    ("DELETE", _SERIES, "request-deletion", deletion.request_deletion),
    ("DELETE", _INSTANCE, "request-deletion", deletion.request_deletion),
    ("GET", _STUDY, "retrieve-study", conditional(wado.retrieve)),
    ("GET", _SERIES, "retrieve-series", conditional(wado.retrieve)),
    ("GET", _INSTANCE, "retrieve-instance", conditional(wado.retrieve)),
    ("GET", f"{_STUDY}/metadata", "retrieve-metadata", conditional(metadata.retrieve_metadata)),
    ("GET", f"{_SERIES}/metadata", "retrieve-metadata", conditional(metadata.retrieve_metadata)),
    ("GET", f"{_INSTANCE}/metadata", "retrieve-metadata", conditional(metadata.retrieve_metadata)),
    ("GET", _INSTANCE + "/frames/{frames}", "retrieve-frames", conditional(frames.retrieve_frames)),
    ("GET", _INSTANCE + "/bulkdata/{path}", "retrieve-bulkdata", conditional(frames.retrieve_bulk)),
    ("GET", f"{_STUDY}/bulkdata", "retrieve-bulkdata", conditional(bulkdata.retrieve_bulkdata)),
    ("GET", f"{_SERIES}/bulkdata", "retrieve-bulkdata", conditional(bulkdata.retrieve_bulkdata)),
    ("GET", f"{_INSTANCE}/bulkdata", "retrieve-bulkdata", conditional(bulkdata.retrieve_bulkdata)),
    ("GET", f"{_STUDY}/pixeldata", "retrieve-pixeldata", conditional(bulkdata.retrieve_pixels)),
    ("GET", f"{_SERIES}/pixeldata", "retrieve-pixeldata", conditional(bulkdata.retrieve_pixels)),
    ("GET", f"{_INSTANCE}/pixeldata", "retrieve-pixeldata", conditional(bulkdata.retrieve_pixels)),
    ("GET", f"{_STUDY}/rendered", "retrieve-rendered", conditional(rendered.retrieve_rendered)),
    ("GET", f"{_SERIES}/rendered", "retrieve-rendered", conditional(rendered.retrieve_rendered)),
    ("GET", f"{_INSTANCE}/rendered", "retrieve-rendered", conditional(rendered.retrieve_rendered)),
    ("GET", _INSTANCE + "/frames/{frames}/rendered", "retrieve-rendered", conditional(rendered.retrieve_rendered)),
    ("GET", f"{_STUDY}/thumbnail", "retrieve-thumbnail", conditional(rendered.retrieve_thumbnail)),
    ("GET", f"{_SERIES}/thumbnail", "retrieve-thumbnail", conditional(rendered.retrieve_thumbnail)),
    ("GET", f"{_INSTANCE}/thumbnail", "retrieve-thumbnail", conditional(rendered.retrieve_thumbnail)),
    ("GET", _INSTANCE + "/frames/{frames}/thumbnail", "retrieve-thumbnail", conditional(rendered.retrieve_thumbnail)),
    ("GET", f"{BASE}/wado", "wado-uri", wado_uri.retrieve_uri),
    ("POST", _WORKITEMS, "create-workitem", ups.create),
    ("GET", _WORKITEMS, "search-workitems", ups_search.search),
    ("GET", _WORKITEM, "retrieve-workitem", ups.retrieve),
    ("POST", _WORKITEM, "update-workitem", ups.update),
    ("PUT", f"{_WORKITEM}/state", "change-workitem-state", ups.change_state),
    ("POST", f"{_WORKITEM}/cancelrequest", "request-workitem-cancellation", ups.request_cancel),
    ("POST", _SUBSCRIBER, "subscribe", ups_subscribe.subscribe),
    ("DELETE", _SUBSCRIBER, "unsubscribe", ups_subscribe.unsubscribe),
    ("POST", f"{_SUBSCRIBER}/suspend", "suspend-subscription", ups_subscribe.suspend),
    ("GET", _CHANNEL, "open-notification-channel", ups_channel.upgrade_required),
)
"""Method, path, name (in the metrics) and handler of every resource."""


def build(archive: Archive) -> ASGIApp:
    """Return the application on an archive; it closes the archive when it ends."""
    gateway = Gateway(archive)
    site = Site(archive, gateway.in_thread)
    throttle = Throttle()
    credentials = Credentials(gateway, throttle)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # The parts connect now rather than in the first request, which would wait for it.
        await gateway.in_thread(gateway.open)
        archive.audit.record(application_activity("vna-http", start=True))
        yield
        await gateway.in_thread(audited.close)
        archive.audit.record(application_activity("vna-http", start=False))
        await gateway.in_thread(gateway.close)

    app = Starlette(
        routes=routes(gateway, site, throttle, credentials),
        exception_handlers=dict(EXCEPTION_HANDLERS),
        middleware=[
            *([Middleware(Cors, settings=gateway.settings)] if gateway.settings.viewer_origins else []),
            Middleware(AccessControl, settings=gateway.settings, credentials=credentials),
            Middleware(Compression),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.base_url = gateway.settings.base_url
    audited = Audited(app, archive)
    return gateway.metrics.count(ahead(audited, gateway.pictures.prepare))


def routes(gateway: Gateway, site: Site, throttle: Throttle, credentials: Credentials) -> list[BaseRoute]:
    """Return every resource that the gateway answers."""
    settings = gateway.archive.settings
    options = [("OPTIONS", path, "capabilities", capabilities(ROUTES, path)) for path in paths(ROUTES)]
    return [
        *(_route(gateway, *each) for each in (*ROUTES, *options)),
        WebSocketRoute(_CHANNEL, ups_channel.Hub(gateway, credentials).endpoint, name="notification-channel"),
        *pages.routes(site),
        *viewer.routes(settings),
        *ohif.routes(settings),
        *sign_in.routes(site, throttle),
        *sign_in_oidc.routes(site),
        *shares.routes(site),
    ]


def _route(gateway: Gateway, method: str, path: str, name: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        return await handler(gateway, request)

    return Route(path, endpoint, methods=[method], name=name)
