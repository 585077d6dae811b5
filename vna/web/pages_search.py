"""``/ui/``: the worklist, and its facets, which are counted after it is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vna.domain.errors import InvalidQueryError
from vna.web.pages_http import Site, guarded, page
from vna.web.view_search import FIELDS, PRESETS, Asked
from vna.web.view_study import STUDY_DATE
from vna.web.view_worklist import facets, worklist


async def home(_site: Site, _request: Request) -> Response:
    """Answer ``GET /ui``."""
    return RedirectResponse("/ui/", 308)


@guarded
async def search(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/``."""
    asked = Asked.parse(request.query_params.multi_items())
    today = datetime.now().astimezone().date()
    view = site.view(request)
    if view.deidentified:
        # There is one order then, which tells nothing.
        asked = replace(asked, sort="-date")
    fields = [field for field in FIELDS if view.matches(field.path)]
    context: dict[str, Any] = {"fields": fields, "presets": PRESETS, "dated": view.matches(STUDY_DATE), "q": asked.q}
    index = view.index
    try:
        found = await site.in_thread(worklist, index, asked, today)
        # For a browser without scripts.
        counted = "facets" in request.query_params
        shown = await site.in_thread(facets, index, asked, today, view.matches) if counted else None
    except InvalidQueryError as error:
        return page(request, "search.html", 400, asked=asked, found=None, facets=[], wrong=str(error), **context)
    return page(request, "search.html", asked=found.asked, found=found, facets=shown, wrong="", **context)


@guarded
async def search_facets(site: Site, request: Request) -> Response:
    """Answer ``GET /ui/facets``: the part of the worklist's page that is counted."""
    asked = Asked.parse(request.query_params.multi_items())
    today = datetime.now().astimezone().date()
    view = site.view(request)
    shown = await site.in_thread(facets, view.index, asked, today, view.matches)
    return page(request, "facets.html", facets=shown)
