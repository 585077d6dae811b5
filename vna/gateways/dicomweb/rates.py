"""How many requests somebody may make: of any kind, and of those that cost much. For a process."""

from __future__ import annotations

import math
import re

from starlette.responses import Response
from starlette.types import Scope

from vna.config import RateSettings
from vna.gateways.dicomweb.errors import error_response
from vna.gateways.dicomweb.links import BASE
from vna.security.principals import Principal
from vna.security.rates import Rates, whose

_STORE = re.compile(rf"{BASE}/studies(/[^/]+)?")
_PICTURE = re.compile(rf"{BASE}/(wado|.*/(rendered|thumbnail))")
_WHOLE = re.compile(rf"{BASE}/studies/[^/]+(/series/[^/]+)?(/(bulkdata|pixeldata|rendered))?")

STORE, PICTURE, WHOLE = 1.0, 4.0, 10.0
"""What a store request, a picture, and a study or series as a whole cost."""


class RateLimits:
    """Refuses requests of whoever makes too many: a principal, or an address where there is none.

    Parameters
    ----------
    settings
        How many are too many.
    """

    def __init__(self, settings: RateSettings) -> None:
        self._requests = Rates(settings.requests_per_second, settings.burst_seconds)
        self._costly = Rates(settings.costly_per_second, settings.burst_seconds)

    def refusal(self, scope: Scope) -> Response | None:
        """Count a request; return the answer that refuses it, ``None`` for one that may pass."""
        subject = _subject(scope)
        wait = self._requests.take(subject)
        what = "requests"
        if not wait:
            wait = self._costly.take(subject, cost(scope["path"], scope.get("method", "GET")))
            what = "pictures, stores or whole studies"
        if not wait:
            return None
        detail = f"too many {what} in a short time; try again in {math.ceil(wait)} s"
        return error_response(429, "too-many-requests", detail, {"Retry-After": str(math.ceil(wait))})


def cost(path: str, method: str) -> float:
    """Return what a request takes of what may cost much, 0 for one that costs little."""
    if method == "POST":
        return STORE if _STORE.fullmatch(path) else 0.0
    if method not in {"GET", "HEAD"}:  # the answer to HEAD is made as that to GET
        return 0.0
    if _WHOLE.fullmatch(path):
        return WHOLE
    return PICTURE if _PICTURE.fullmatch(path) else 0.0


def _subject(scope: Scope) -> str:
    principal = scope.get("state", {}).get("principal")
    if isinstance(principal, Principal) and principal.means != "network":
        return f"{principal.means} {principal.name}"
    client = scope.get("client")
    return f"from {whose(client[0]) if client else ''}"
