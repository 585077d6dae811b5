"""Is the process alive, is the archive ready, and what has been counted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vna.domain.errors import ArchiveError, IntegrityError, UnavailableError
from vna.domain.origin import Origin
from vna.gateways.dicomweb.context import Gateway
from vna.gateways.dicomweb.links import BASE, Links
from vna.gateways.dicomweb.metrics import CONTENT_TYPE
from vna.lifecycle.index_loss import find_loss


def _json(data: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(data), status, media_type="application/json", headers={"Cache-Control": "no-store"})


async def health(_gateway: Gateway, _request: Request) -> Response:
    """Answer ``GET /health``: the process serves requests."""
    return _json({"status": "ok"})


async def ready(gateway: Gateway, _request: Request) -> Response:
    """Answer ``GET /ready``: 200 if a store request and a search would succeed now, otherwise 503.

    A broker that is away degrades the archive, no more: it takes in and finds
    what is stored; what comes in is stored by the sweeper, later. So does an
    index that was lost: what comes in is found, what came before is not.
    """
    archive = gateway.archive

    def check_spool() -> None:
        with archive.spool.begin(Origin("stow")):
            pass  # a file could be made, and there is space

    def check_loss() -> None:
        with suppress(UnavailableError):  # which its own part tells
            loss = find_loss(archive.objects, archive.index)
            if loss is not None:
                raise IntegrityError(str(loss))

    def run() -> dict[str, str]:
        checks: dict[str, Callable[[], None]] = {
            "spool": check_spool,
            "objects": archive.objects.check,
            "index": archive.index.check,
            "queue": archive.queue.check,
            "loss": check_loss,
        }
        with ThreadPoolExecutor(len(checks)) as threads:
            return dict(zip(checks, threads.map(_failure, checks.values()), strict=True))

    failures = await gateway.in_thread(run)
    lost = failures.pop("loss")
    broken = [name for name, failure in failures.items() if failure and name != "queue"]
    failures["index"] = failures["index"] or lost
    status = "failing" if broken else "degraded" if any(failures.values()) else "ok"
    parts = {
        name: {"status": "failing", "detail": failure} if failure else {"status": "ok"}
        for name, failure in failures.items()
    }
    return _json({"status": status, "parts": parts}, 503 if broken else 200)


def _failure(check: Callable[[], None]) -> str:
    try:
        check()
    except (ArchiveError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


async def metrics(gateway: Gateway, _request: Request) -> Response:
    """Answer ``GET /metrics``."""
    return Response(await gateway.in_thread(gateway.metrics.render), headers={"Content-Type": CONTENT_TYPE})


async def root(gateway: Gateway, request: Request) -> Response:
    """Answer ``GET /``: where what is; to a browser, the pages."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/ui/", 307, headers={"Vary": "Accept", "Cache-Control": "no-store"})
    links = Links.of(request, gateway.settings.base_url)
    base = links.root.removesuffix(BASE)
    return _json(
        {
            "name": "vna",
            "dicomweb": links.root,
            "studies": f"{links.root}/studies",
            "pages": f"{base}/ui/",
            "health": f"{base}/health",
            "ready": f"{base}/ready",
            "metrics": f"{base}/metrics",
        }
    )
