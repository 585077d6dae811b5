"""Which pages of elsewhere may read DICOMweb in a browser (Fetch Standard, CORS): none but those that are named."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from vna.config import HttpSettings
from vna.gateways.dicomweb.links import BASE

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
_EXPOSED = ("Content-Location", "Content-Range", "ETag", "Location", "Retry-After", "Warning")
_PREFLIGHT_SECONDS = 600


class Cors:
    """Lets viewers of the origins that the configuration names reach DICOMweb, and nothing else of the gateway.

    They send a key or a token; cookies of the archive's own pages are of no use to them.

    Parameters
    ----------
    app
        What answers.
    settings
        The gateway's settings.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = app
        self._shared = CORSMiddleware(
            app,
            allow_origins=settings.viewer_origins,
            allow_methods=_METHODS,
            allow_headers=("Accept", "Authorization", "Content-Type", "If-None-Match", "Range"),
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a browser's question before a request, or pass the request on."""
        shared = scope["type"] == "http" and scope["path"].startswith(f"{BASE}/")
        await (self._shared if shared else self._app)(scope, receive, send)
